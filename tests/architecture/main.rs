//! The architecture as a test: what each package may name, read from `cargo metadata`.
//!
//! `RULES` is the package table of the design. A package names what its own manifest names; what
//! it must never contain is looked for in its whole tree.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

struct Rule {
    package: &'static str,
    folder: &'static str,
    /// Packages of the workspace that it may name.
    may_name: &'static [&'static str],
    /// Libraries that must not be in its tree at all. A `*` at the end stands for any ending.
    never_contains: &'static [&'static str],
    /// Libraries that its own manifest must not name.
    never_names: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        package: "throughline-agent-ebpf",
        folder: "agent-ebpf",
        may_name: &[],
        never_contains: &[
            "tokio",
            "arrow*",
            "deltalake*",
            "datafusion*",
            "kube*",
            "tonic*",
            "serde",
        ],
        never_names: &[],
    },
    Rule {
        package: "throughline-wire",
        folder: "agent/wire",
        may_name: &[],
        never_contains: &["tokio", "aya*", "arrow*", "tonic*", "kube*"],
        never_names: &[],
    },
    Rule {
        package: "throughline-agent",
        folder: "agent",
        may_name: &["throughline-agent-ebpf", "throughline-wire"],
        never_contains: &[
            "arrow*",
            "parquet",
            "deltalake*",
            "datafusion*",
            "kube*",
            "object_store",
        ],
        never_names: &[],
    },
    Rule {
        package: "throughline-tables",
        folder: "collector/tables",
        may_name: &[],
        never_contains: &["tokio", "deltalake*", "kube*", "tonic*", "object_store", "datafusion*"],
        never_names: &[],
    },
    Rule {
        package: "throughline-store",
        folder: "collector/store",
        may_name: &["throughline-tables"],
        never_contains: &["kube*", "tonic*", "aya*", "datafusion*"],
        never_names: &[],
    },
    Rule {
        package: "throughline-collector",
        folder: "collector",
        may_name: &["throughline-wire", "throughline-tables", "throughline-store"],
        never_contains: &["aya*", "datafusion*"],
        never_names: &["deltalake", "object_store", "parquet"],
    },
    Rule {
        package: "throughline-join",
        folder: "correlator/join",
        may_name: &["throughline-tables"],
        never_contains: &["tokio", "deltalake*", "object_store", "rand*", "datafusion*", "tracing"],
        never_names: &["parquet"],
    },
    Rule {
        package: "throughline-query",
        folder: "correlator/query",
        may_name: &["throughline-tables", "throughline-store"],
        never_contains: &["kube*", "tonic*", "aya*"],
        never_names: &["deltalake"],
    },
    Rule {
        package: "throughline-engine",
        folder: "correlator/engine",
        may_name: &["throughline-join", "throughline-store", "throughline-tables"],
        never_contains: &["aya*", "kube*", "tonic*", "datafusion*"],
        never_names: &["deltalake", "object_store", "parquet"],
    },
    Rule {
        package: "throughline",
        folder: "correlator",
        may_name: &[
            "throughline-engine",
            "throughline-join",
            "throughline-query",
            "throughline-store",
            "throughline-tables",
        ],
        never_contains: &["aya*", "kube*", "tonic*"],
        never_names: &["datafusion", "deltalake", "object_store"],
    },
    Rule {
        package: "throughline-bench",
        folder: "tests/bench",
        may_name: &[
            "throughline-engine",
            "throughline-sim",
            "throughline-store",
            "throughline-tables",
        ],
        never_contains: &["aya*", "kube*", "tonic*", "datafusion*"],
        never_names: &["deltalake"],
    },
    Rule {
        package: "throughline-scenario",
        folder: "tests/scenario",
        may_name: &["throughline-collector", "throughline-join", "throughline-tables"],
        never_contains: &["aya*", "datafusion*"],
        never_names: &["deltalake", "kube", "tokio"],
    },
    Rule {
        package: "throughline-sim",
        folder: "tests/sim",
        may_name: &["throughline-store", "throughline-tables"],
        never_contains: &["aya*", "kube*", "tonic*", "datafusion*"],
        never_names: &["deltalake", "object_store"],
    },
    Rule {
        package: "throughline-score-relay",
        folder: "tests/relay",
        may_name: &["throughline-join"],
        never_contains: &["tokio", "deltalake*", "datafusion*", "object_store"],
        never_names: &[],
    },
];

/// Of these there must be one version: two do not mix, or double the build.
const ONE_COPY: &[&str] = &[
    "arrow",
    "axum",
    "dashmap",
    "datafusion",
    "deltalake",
    "hyper",
    "object_store",
    "parquet",
    "prost",
    "rustls",
    "tokio",
    "tonic",
];

#[test]
fn packages_name_only_what_the_design_allows() {
    let metadata = Metadata::read();
    let mut wrong = Vec::new();
    for rule in RULES {
        let Some(package) = metadata.packages.get(rule.package) else {
            wrong.push(format!("{} is missing", rule.package));
            continue;
        };
        if !package.manifest.ends_with(&format!("/{}/Cargo.toml", rule.folder)) {
            wrong.push(format!("{} does not live in {}", rule.package, rule.folder));
        }
        for name in &package.names {
            let is_ours = metadata.packages.contains_key(name.as_str());
            if is_ours && !rule.may_name.contains(&name.as_str()) {
                wrong.push(format!("{} names {name}", rule.package));
            }
            if rule.never_names.contains(&name.as_str()) {
                wrong.push(format!("{} names {name}", rule.package));
            }
        }
        for name in metadata.tree(rule.package) {
            if rule.never_contains.iter().any(|pattern| matches(pattern, &name)) {
                wrong.push(format!("the tree of {} contains {name}", rule.package));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_package_of_the_workspace_has_a_rule() {
    let ruled: BTreeSet<&str> = RULES.iter().map(|r| r.package).collect();
    let unruled: Vec<String> = Metadata::read()
        .packages
        .into_keys()
        .filter(|name| name != "throughline-tests" && !ruled.contains(name.as_str()))
        .collect();
    assert!(unruled.is_empty(), "{unruled:?}");
}

#[test]
fn only_one_crate_names_each_outside_world() {
    let metadata = Metadata::read();
    for (library, owner) in [
        ("aya", "throughline-agent"),
        ("kube", "throughline-collector"),
        ("deltalake", "throughline-store"),
        ("datafusion", "throughline-query"),
    ] {
        let naming: Vec<&String> = metadata
            .packages
            .iter()
            .filter(|(_, p)| p.names.contains(library))
            .map(|(n, _)| n)
            .collect();
        assert_eq!(naming, [owner], "{library}");
    }
}

#[test]
fn there_is_one_copy_of_each_large_library() {
    let lock =
        std::fs::read_to_string(format!("{}/../Cargo.lock", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lock.lines() {
        if let Some(name) = line.strip_prefix("name = ") {
            *copies.entry(name.trim_matches('"')).or_default() += 1;
        }
    }
    let doubled: Vec<_> = ONE_COPY.iter().filter(|name| copies.get(**name) != Some(&1)).collect();
    assert!(doubled.is_empty(), "not exactly one copy: {doubled:?}");
}

#[test]
fn each_outside_world_is_named_in_one_module() {
    // (folder of sources, what a line names, files that may)
    for (sources, name, door) in [
        ("agent/src", "aya::", &["kernel.rs", "kernel/"][..]),
        ("agent/src", "tonic::", &["export.rs", "export/"][..]),
        ("collector/src", "kube::", &["cluster/", "cluster.rs"][..]),
    ] {
        let root = format!("{}/../{sources}", env!("CARGO_MANIFEST_DIR"));
        let mut wrong = Vec::new();
        visit(std::path::Path::new(&root), &mut |path, text| {
            let relative = path.strip_prefix(&root).unwrap_or(path).trim_start_matches('/');
            let is_door = door.iter().any(|d| relative == *d || relative.starts_with(d));
            if !is_door && text.lines().any(|l| !l.trim_start().starts_with("//") && names(l, name))
            {
                wrong.push(relative.to_owned());
            }
        });
        assert!(wrong.is_empty(), "{name} outside its door in {sources}: {wrong:?}");
    }
}

/// `aya::` but not `xaya::`, and not a longer path's middle.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

fn visit(folder: &std::path::Path, each: &mut impl FnMut(&str, &str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, each);
        } else if path.extension().is_some_and(|e| e == "rs") {
            each(&path.to_string_lossy(), &std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        // `kube*` means kube and its family kube-client, not kubeless.
        Some(stem) => name == stem || name.starts_with(&format!("{stem}-")),
        None => name == pattern,
    }
}

struct Package {
    manifest: String,
    /// What the manifest names for the product itself, not for its tests.
    names: BTreeSet<String>,
}

struct Metadata {
    packages: BTreeMap<String, Package>,
    /// Name -> names of what it is built with on this host.
    built_with: BTreeMap<String, BTreeSet<String>>,
}

impl Metadata {
    fn read() -> Self {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let output = Command::new(cargo)
            .args([
                "metadata",
                "--format-version",
                "1",
                "--offline",
                "--filter-platform",
                "x86_64-unknown-linux-gnu",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let members: BTreeSet<String> = list(&json["workspace_members"]).iter().map(text).collect();
        let names: BTreeMap<String, String> =
            list(&json["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let packages = list(&json["packages"])
            .iter()
            .filter(|p| members.contains(&text(&p["id"])))
            .map(|p| {
                let named = list(&p["dependencies"])
                    .iter()
                    .filter(|d| d["kind"].is_null())
                    .map(|d| text(&d["name"]))
                    .collect();
                (text(&p["name"]), Package { manifest: text(&p["manifest_path"]), names: named })
            })
            .collect();
        let mut built_with: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&json["resolve"]["nodes"]) {
            let normal = list(&node["deps"])
                .into_iter()
                .filter(|d| list(&d["dep_kinds"]).iter().any(|k| k["kind"].is_null()));
            let entry = built_with.entry(names[&text(&node["id"])].clone()).or_default();
            entry.extend(normal.map(|d| names[&text(&d["pkg"])].clone()));
        }
        Self { packages, built_with }
    }

    fn tree(&self, package: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![package.to_owned()];
        while let Some(next) = open.pop() {
            for name in self.built_with.get(&next).into_iter().flatten() {
                if found.insert(name.clone()) {
                    open.push(name.clone());
                }
            }
        }
        found
    }
}
