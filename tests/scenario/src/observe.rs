//! Statements about what was observed: exchanges of both ends, translations, spans, log lines.

use anyhow::{Context, bail};
use collector::format::{self, Format};
use tables::{Exchange, NatBinding, Quarantine, Span};

use crate::words::{Words, end, span as duration};
use crate::world::World;

/// A byte is this long on the way, where a call says nothing else (`way=THERE/BACK`); both ends of it
/// stamp their own.
const WAY: &str = "0.0001";

/// Both ends of one request as addresses, and when.
struct Turn {
    client: (String, i32),
    requested: (String, i32),
    server: (String, i32),
    /// Whom the server's socket sees.
    seen_client: (String, i32),
    from_ns: i64,
    to_ns: i64,
    seq: i64,
}

impl Turn {
    /// `CLIENT:PORT -> REQUESTED:PORT [=> SERVER:PORT] FROM..TO [as=IP:PORT] [seq=N]`
    fn read(world: &mut World, words: &Words<'_>) -> anyhow::Result<Self> {
        let place = |text: &str| -> anyhow::Result<(String, i32)> {
            let (host, port) = end(text)?;
            Ok((world.address(host), port))
        };
        let client = place(words.at(1)?)?;
        let requested = place(words.after("->").context("-> whom?")?)?;
        let server = words.after("=>").map(place).transpose()?.unwrap_or(requested.clone());
        let seen_client = words.option("as").map(place).transpose()?.unwrap_or(client.clone());
        let (from_ns, to_ns) = words.interval()?;
        let seq = words.number("seq")?.unwrap_or_else(|| world.next() * 1_000);
        Ok(Self { client, requested, server, seen_client, from_ns, to_ns, seq })
    }

    fn is_translated(&self) -> bool {
        self.requested != self.server || self.client != self.seen_client
    }
}

/// One pair of values, `client/server`; one value alone is both.
fn sides<'a>(words: &Words<'a>, key: &str) -> Option<(&'a str, &'a str)> {
    let text = words.option(key)?;
    Some(text.split_once('/').unwrap_or((text, text)))
}

/// `call POD:PORT -> WHOM:PORT ...`: a pod's call with its client end, its server end and the
/// translation between them, but for what `without=` takes away.
pub(crate) fn call(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let turn = Turn::read(world, words)?;
    let without =
        |what: &str| words.option("without").is_some_and(|w| w.split(',').any(|x| x == what));
    if !without("client") {
        let ends = (&turn.client, &turn.requested);
        exchange(world, words, "client", ends, (turn.from_ns, turn.to_ns), turn.seq)?;
    }
    if !without("server") {
        let ends = (&turn.server, &turn.seen_client);
        let (there, back) = sides(words, "way").unwrap_or((WAY, WAY));
        let during = (turn.from_ns + duration(there)?, turn.to_ns - duration(back)?);
        exchange(world, words, "server", ends, during, turn.seq)?;
    }
    if turn.is_translated() && !without("nat") {
        let node = match words.option("via") {
            Some(node) => node.to_owned(),
            None => node_of(world, &turn.client.0).context("who translated? via=NODE")?,
        };
        bind(world, words, &node, &turn)?;
    }
    Ok(())
}

/// `arrive CLIENT:PORT -> WHOM:PORT ... via=NODE`: the same from outside, where no agent is.
pub(crate) fn arrive(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let turn = Turn::read(world, words)?;
    let ends = (&turn.server, &turn.seen_client);
    exchange(world, words, "server", ends, (turn.from_ns, turn.to_ns), turn.seq)?;
    match words.option("via") {
        Some(node) if turn.is_translated() => bind(world, words, node, &turn),
        _ => Ok(()),
    }
}

fn bind(world: &mut World, words: &Words<'_>, node: &str, turn: &Turn) -> anyhow::Result<()> {
    let first_ns = words.moment("opened")?.unwrap_or(turn.from_ns);
    // An entry is reported when it is seen first, and again while it stays in the node's table.
    let first = Some(turn.from_ns).filter(|_| words.option("opened").is_none());
    let again = words.moment("again")?;
    let known = again.is_none().then_some(turn.from_ns.max(first_ns));
    let sightings = [first.or(known), again];
    for seen_ns in sightings.into_iter().flatten() {
        let row = binding(world, node, turn, (first_ns, seen_ns));
        world.arrived.nat_bindings.push(row);
    }
    Ok(())
}

fn binding(
    world: &mut World,
    node: &str,
    turn: &Turn,
    (first_ns, seen_ns): (i64, i64),
) -> NatBinding {
    let origin = world.origin("agent", node, seen_ns);
    NatBinding {
        netns_cookie: 1,
        protocol: 6,
        original_source_ip: turn.client.0.clone(),
        original_source_port: turn.client.1,
        original_destination_ip: turn.requested.0.clone(),
        original_destination_port: turn.requested.1,
        reply_source_ip: turn.server.0.clone(),
        reply_source_port: turn.server.1,
        reply_destination_ip: turn.seen_client.0.clone(),
        reply_destination_port: turn.seen_client.1,
        first_seen_ns: first_ns,
        last_seen_ns: seen_ns,
        evidence: "xmit".into(),
        ..NatBinding::from_origin(&origin)
    }
}

type Ends<'a> = (&'a (String, i32), &'a (String, i32));

/// One end of a turn. Options, each for both ends or `client/server`: `thread=`, `node=`, `pod=`,
/// `resp=` (`none` where nothing was answered), `bytes=REQUEST/RESPONSE`, `ordinal=`, `ended=`,
/// `protocol=`, `stream=`, `shift=` (what the node's clock is ahead).
fn exchange(
    world: &mut World,
    words: &Words<'_>,
    role: &str,
    (local, remote): Ends<'_>,
    (from_ns, to_ns): (i64, i64),
    seq: i64,
) -> anyhow::Result<()> {
    let side = |key: &str| {
        sides(words, key).map(|(client, server)| if role == "client" { client } else { server })
    };
    let number = |key: &str| side(key).and_then(|text| text.parse::<i64>().ok());
    let owner = match side("pod") {
        Some(name) => Some(name.to_owned()),
        None => world.pod_at(&local.0).map(|(name, _)| name.to_owned()),
    };
    let owner = owner.and_then(|name| world.pods.get(&name)).cloned();
    let node = match side("node") {
        Some(node) => node.to_owned(),
        None => match &owner {
            Some(pod) => pod.node.clone(),
            None => node_of(world, &local.0).with_context(|| format!("node of {}?", local.0))?,
        },
    };
    let (bytes_request, bytes_response) = sides(words, "bytes").unwrap_or(("300", "1000"));
    let is_answered = side("resp") != Some("none");
    let shift_ns = side("shift").map(duration).transpose()?.unwrap_or(0);
    let first_ns = words.moment("first")?.unwrap_or(to_ns).clamp(from_ns, to_ns);
    let ended_by = side("ended").unwrap_or("turn");
    let origin = world.origin("agent", &node, to_ns + shift_ns);
    let is_http2 = words.option("protocol") == Some("http2");
    let socket = words
        .number("socket")?
        .unwrap_or_else(|| i64::from(local.1) * 70_000 + i64::from(remote.1));
    world.arrived.exchanges.push(Exchange {
        netns_cookie: 1,
        cgroup_id: 1,
        pod_uid: owner.as_ref().map(|pod| pod.uid.clone()),
        attributed_by: owner
            .as_ref()
            .map(|pod| if pod.body.host_network { "cgroup" } else { "netns" }.to_owned()),
        socket_cookie: socket,
        role: role.into(),
        local_ip: local.0.clone(),
        local_port: local.1,
        remote_ip: remote.0.clone(),
        remote_port: remote.1,
        ordinal: number("ordinal").unwrap_or(0),
        tcp_seq_req: seq,
        tcp_seq_resp: (is_answered && seq >= 0).then_some(seq + 500),
        start_ns: from_ns + shift_ns,
        first_response_ns: is_answered.then_some(first_ns + shift_ns),
        end_ns: to_ns + shift_ns,
        bytes_request: bytes_request.parse()?,
        bytes_response: if is_answered { bytes_response.parse()? } else { 0 },
        process: 1,
        thread: number("thread").unwrap_or(1),
        response_thread: is_answered.then_some(number("thread").unwrap_or(1)),
        ended_by: ended_by.into(),
        protocol: Some(if is_http2 { "http2" } else { "http1" }.into()),
        stream_id: number("stream"),
        is_stream: words.has("stream").then_some(true),
        ..Exchange::from_origin(&origin)
    });
    Ok(())
}

/// `span KIND POD trace=T id=I [parent=P] [peer=HOST:PORT] FROM..TO [request=ID] [status=N]`
pub(crate) fn span(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let (kind, pod) = (words.at(1)?, words.at(2)?);
    let (start_ns, end_ns) = words.interval()?;
    let peer = words.option("peer").map(end).transpose()?;
    let peer = peer.map(|(host, port)| (world.address(host), port));
    let facts = world.pods.get(pod).with_context(|| format!("no pod {pod}"))?.clone();
    let hex = |key: &str, width: usize| words.option(key).map(|id| format!("{id:0>width$}"));
    let origin = world.origin("otlp", &facts.ip, end_ns);
    world.arrived.spans.push(Span {
        trace_id: hex("trace", 32).context("trace=")?,
        span_id: hex("id", 16).context("id=")?,
        parent_span_id: hex("parent", 16),
        kind: kind.into(),
        pod_uid: Some(facts.uid),
        pod_name: Some(pod.into()),
        sender_ip: Some(facts.ip),
        start_ns,
        end_ns,
        method: Some(words.option("method").unwrap_or("GET").into()),
        route: words.option("route").map(str::to_owned),
        status_code: words.number("status")?.map(|status| status as i32),
        peer_ip: peer.as_ref().map(|(ip, _)| ip.clone()),
        peer_port: peer.map(|(_, port)| port),
        request_id: words.option("request").and_then(|id| world.admission.request_id(id)),
        system: Some("http".into()),
        ..Span::from_origin(&origin)
    });
    Ok(())
}

/// `log POD [format=NAME] | LINE`: a line that this pod sent. `file NAME format=NAME | LINE`: a
/// line of a file that a balancer's service delivered. Both go through the collector's parser.
pub(crate) fn log(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let raw = words.raw.context("no line behind a bar")?;
    let format = match words.option("format") {
        Some(name) => Format::named(name).with_context(|| format!("no format {name}"))?,
        None => Format::IngressNginx,
    };
    let sender = words.at(1)?;
    let emitter = match words.at(0)? {
        "file" => None,
        _ => Some(world.address(sender)),
    };
    let source = if emitter.is_some() { "syslog" } else { "file" };
    let now_ns = world.now_ns;
    let origin = world.origin(source, emitter.as_deref().unwrap_or(sender), now_ns);
    let bytes = raw.replace("\\n", "\n");
    match format::read(format, bytes.as_bytes(), emitter.as_deref(), &origin, &world.admission) {
        Ok(row) => world.arrived.access_logs.push(row),
        Err(error) => world.arrived.quarantine.push(Quarantine {
            receiver: source.into(),
            reason: error.reason().into(),
            length: i64::try_from(bytes.len())?,
            keyed_hash: world.admission.input_hash(bytes.as_bytes()),
            ..Quarantine::from_origin(&origin)
        }),
    }
    Ok(())
}

fn node_of(world: &World, ip: &str) -> anyhow::Result<String> {
    if let Some((_, pod)) = world.pod_at(ip) {
        return Ok(pod.node.clone());
    }
    match world.nodes.iter().find(|(_, address)| *address == ip) {
        Some((node, _)) => Ok(node.clone()),
        None => bail!("{ip} is on no node"),
    }
}
