//! A flow log line of Calico. It tells of some connections between two groups of pods over minutes,
//! without a client's port and mostly without addresses: evidence of no request, ever.

use serde_json::Value;

use super::LineError;

pub const FORMAT: &str = "calico";

/// Why this line is no request: always, and if only because it is no flow either.
pub fn refuse(line: &str) -> LineError {
    let object: Option<Value> = serde_json::from_str(line).ok();
    let has = |key: &str| object.as_ref().is_some_and(|o| o.get(key).is_some());
    let is_flow = has("reporter") && has("action") && (has("dest_name") || has("dest_type"));
    if is_flow { LineError::Aggregated } else { LineError::Json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_told_from_what_is_broken() {
        let flow = r#"{"source_name":"web-*","dest_name":"cart-*","dest_type":"wep","dest_port":8080,"proto":"tcp","reporter":"src","action":"allow","start_time":1,"end_time":2}"#;
        assert_eq!(refuse(flow), LineError::Aggregated);
        assert_eq!(refuse(&flow[..40]), LineError::Json);
        assert_eq!(refuse("[]"), LineError::Json);
    }
}
