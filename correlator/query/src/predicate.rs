//! Filters as DataFusion expressions. Values travel as literals, never inside SQL text.

use datafusion::functions_nested::expr_fn::array_has;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};

use crate::current::Question;
use crate::files::Bounds;
use crate::filter::{AmbiguousFilter, Interval, PathFilter};
use crate::id::Id;

/// One question for each reading of the id, or a single one without an id.
///
/// They stay apart because a parquet bloom filter can refuse `a = x`, but not `a = x or b = x`.
pub(crate) fn paths(filter: &PathFilter) -> Vec<Question> {
    // Revisions of a path only add evidence, so an id that a row has, its later ones have too.
    let Some(id) = &filter.id else {
        return vec![path(filter, Vec::new())];
    };
    readings(id).into_iter().map(|reading| path(filter, vec![reading])).collect()
}

pub(crate) fn ambiguous(filter: &AmbiguousFilter) -> Question {
    let reason = filter.reason.as_deref().map(|reason| col("reason").eq(lit(reason)));
    Question {
        of_each: Vec::new(),
        of_newest: started(filter.started).into_iter().chain(reason).collect(),
        bounds: Bounds::started(filter.started),
    }
}

/// Rows that one window has of one path, in any table that has `path_id`.
pub(crate) fn of_path(path_id: &str, window: i64) -> Question {
    Question {
        of_each: vec![col("path_id").eq(lit(path_id))],
        of_newest: Vec::new(),
        bounds: Bounds::of_window(window),
    }
}

/// Hops to a Service of one namespace: a path row names its Services without it.
pub(crate) fn hops_to(namespace: &str, name: &str, started: Interval) -> Question {
    Question {
        of_each: Vec::new(),
        of_newest: vec![col("service").eq(lit(name)), col("service_namespace").eq(lit(namespace))],
        bounds: Bounds::started(started),
    }
}

fn path(filter: &PathFilter, of_each: Vec<Expr>) -> Question {
    let service = filter
        .service
        .as_ref()
        .map(|service| array_has(col("services"), lit(service.name.as_str())));
    let pod = filter.pod.as_deref().map(|name| array_has(col("pods"), lit(name)));
    let status = filter.status.as_ref().map(|status| {
        let codes = status.codes();
        col("status").between(lit(*codes.start()), lit(*codes.end()))
    });
    let verdict = filter.verdict.map(|verdict| col("verdict").eq(lit(verdict.as_str())));
    let of_newest =
        started(filter.started).into_iter().chain(service).chain(pod).chain(status).chain(verdict);
    Question {
        of_each,
        of_newest: of_newest.collect(),
        bounds: Bounds {
            status: filter.status.as_ref().map(|status| status.codes()),
            ..Bounds::started(filter.started)
        },
    }
}

fn readings(id: &Id) -> Vec<Expr> {
    let request_ids = id.request_ids.iter().map(|request_id| lit(request_id.as_str())).collect();
    let mut readings = vec![col("request_id").in_list(request_ids, false)];
    if let Some(hex) = &id.hex {
        readings.push(col("path_id").eq(lit(hex.as_str())));
        readings.push(col("trace_id").eq(lit(hex.as_str())));
    }
    readings
}

fn started(interval: Interval) -> Vec<Expr> {
    let since = interval.since_ns.map(|ns| col("start_ns").gt_eq(lit(ns)));
    let until = interval.until_ns.map(|ns| col("start_ns").lt(lit(ns)));
    since.into_iter().chain(until).collect()
}
