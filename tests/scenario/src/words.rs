//! One line of a transcript as words and `key=value` options.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

/// Start of every transcript: 2026-11-21T13:00:00Z, nanoseconds since the Unix epoch.
pub(crate) const T0_NS: i64 = 1_795_266_000 * join::SECOND;

#[derive(Clone, Debug, Default)]
pub(crate) struct Words<'a> {
    plain: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
    /// What stands behind ` | `, as it is.
    pub(crate) raw: Option<&'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn read(line: &'a str) -> Self {
        let (line, raw) = match line.split_once(" | ") {
            Some((line, raw)) => (line, Some(raw)),
            None => (line, None),
        };
        let mut words = Self { raw, ..Self::default() };
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) if !key.is_empty() && !value.starts_with('>') => {
                    words.options.insert(key, value);
                }
                _ => words.plain.push(word),
            }
        }
        words
    }

    pub(crate) fn at(&self, index: usize) -> anyhow::Result<&'a str> {
        self.plain.get(index).copied().with_context(|| format!("word {index} is not there"))
    }

    pub(crate) fn rest(&self, from: usize) -> &[&'a str] {
        self.plain.get(from..).unwrap_or_default()
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    /// The word behind this one.
    pub(crate) fn after(&self, word: &str) -> Option<&'a str> {
        let at = self.plain.iter().position(|w| *w == word)?;
        self.plain.get(at + 1).copied()
    }

    pub(crate) fn option(&self, key: &str) -> Option<&'a str> {
        self.options.get(key).copied()
    }

    pub(crate) fn number(&self, key: &str) -> anyhow::Result<Option<i64>> {
        let Some(text) = self.option(key) else { return Ok(None) };
        text.parse().map(Some).with_context(|| format!("{key}={text} is no number"))
    }

    pub(crate) fn moment(&self, key: &str) -> anyhow::Result<Option<i64>> {
        self.option(key).map(moment).transpose()
    }

    /// The word `from..to`, as two moments.
    pub(crate) fn interval(&self) -> anyhow::Result<(i64, i64)> {
        let word = self.plain.iter().find(|w| w.contains("..")).context("no interval a..b")?;
        let (from, to) = word.split_once("..").context("no interval a..b")?;
        Ok((moment(from)?, moment(to)?))
    }
}

/// `12.5` or `14m50s` behind the transcript's start, in nanoseconds since the Unix epoch.
pub(crate) fn moment(text: &str) -> anyhow::Result<i64> {
    Ok(T0_NS + span(text)?)
}

/// `12.5`, `14m50s` or `2h` in nanoseconds.
pub(crate) fn span(text: &str) -> anyhow::Result<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut total_ns = 0;
    for (unit, seconds) in [('h', 3_600), ('m', 60)] {
        if let Some((count, after)) = rest.split_once(unit) {
            let count: i64 = count.parse().with_context(|| format!("{text} is no time"))?;
            total_ns += count * seconds * join::SECOND;
            rest = after;
        }
    }
    let rest = rest.strip_suffix('s').unwrap_or(rest);
    if !rest.is_empty() {
        let (whole, decimals) = rest.split_once('.').unwrap_or((rest, ""));
        if decimals.len() > 9 {
            bail!("{text} has more than nine decimals");
        }
        let whole: i64 = whole.parse().with_context(|| format!("{text} is no time"))?;
        let nanos: i64 = format!("{decimals:0<9}").parse()?;
        total_ns += whole * join::SECOND + nanos;
    }
    Ok(sign * total_ns)
}

/// `host:port`, `[v6]:port`; the host may be a pod's name.
pub(crate) fn end(text: &str) -> anyhow::Result<(&str, i32)> {
    let (host, port) = text.rsplit_once(':').with_context(|| format!("{text} has no port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host, port.parse().with_context(|| format!("{text} has no port"))?))
}
