//! What one line of a transcript asks for.

use anyhow::bail;

use crate::words::Words;
use crate::world::World;
use crate::{cluster, observe};

/// Adds what a line says to the world.
pub(crate) fn apply(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    match words.at(0)? {
        "node" => cluster::node(world, words),
        "pod" => cluster::pod(world, words),
        "terminating" | "deleted" => cluster::ending(world, words),
        "service" => cluster::service(world, words),
        "endpoints" => cluster::endpoints(world, words),
        "agent" => cluster::agent(world, words),
        "call" => observe::call(world, words),
        "arrive" => observe::arrive(world, words),
        "span" => observe::span(world, words),
        "log" | "file" => observe::log(world, words),
        other => bail!("no statement {other}"),
    }
}
