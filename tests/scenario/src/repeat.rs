//! `repeat N` ... `end`: the lines between them N times, with `{a+i*b}` worked out for each i.

use anyhow::{Context, bail};

/// The lines of a transcript with their numbers, repeated ones as often as they say.
pub(crate) fn unrolled(text: &str) -> anyhow::Result<Vec<(usize, String)>> {
    let mut lines = Vec::new();
    let mut block: Option<(u64, Vec<(usize, &str)>)> = None;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if let Some(count) = line.strip_prefix("repeat ") {
            block = Some((count.trim().parse().context("repeat how often?")?, Vec::new()));
        } else if line.trim_end() == "end" {
            let (count, body) = block.take().context("an end without a repeat")?;
            for i in 0..count {
                for (number, line) in &body {
                    let worked = worked_out(line, i).with_context(|| format!("line {number}"))?;
                    lines.push((*number, worked));
                }
            }
        } else if let Some((_, body)) = &mut block {
            body.push((number, line));
        } else {
            lines.push((number, line.to_owned()));
        }
    }
    if block.is_some() {
        bail!("a repeat without an end");
    }
    Ok(lines)
}

/// `{i}`, `{a+i*b}` in decimal, `{i:16x}` in so many hexadecimal digits.
fn worked_out(line: &str, i: u64) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('{') {
        let (expression, after) = after.split_once('}').context("a { without a }")?;
        out.push_str(before);
        out.push_str(&value(expression, i)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(expression: &str, i: u64) -> anyhow::Result<String> {
    if let Some(width) = expression.strip_prefix("i:").and_then(|w| w.strip_suffix('x')) {
        let width: usize = width.parse()?;
        return Ok(format!("{:0width$x}", i + 1));
    }
    let (base, step) = match expression.split_once("+i*") {
        Some((base, step)) => (base, step),
        None if expression == "i" => ("0", "1"),
        None => bail!("{{{expression}}} is not worked out"),
    };
    if let (Ok(base), Ok(step)) = (base.parse::<u64>(), step.parse::<u64>()) {
        return Ok((base + i * step).to_string());
    }
    let micros = |text: &str| -> anyhow::Result<i64> { Ok(crate::words::span(text)? / 1_000) };
    let total = micros(base)? + i64::try_from(i)? * micros(step)?;
    Ok(format!("{}.{:06}", total / 1_000_000, total % 1_000_000))
}
