//! Statements about the cluster: nodes, pods, Services, endpoints, agents.

use anyhow::Context;
use tables::{ClusterObject, cluster};

use crate::words::{T0_NS, Words, end, span};
use crate::world::{Agent, Loss, PodFacts, World};

/// Objects exist since so long before the transcript unless it says otherwise.
const BEFORE_NS: i64 = 600 * join::SECOND;
const NAMESPACE: &str = "shop";

/// `node NAME IP [pods=CIDR]`
pub(crate) fn node(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let (name, ip) = (words.at(1)?, words.at(2)?);
    let body = cluster::Node {
        addresses: vec![ip.into()],
        pod_cidrs: words.option("pods").map(str::to_owned).into_iter().collect(),
        created_at_ns: Some(T0_NS - 2 * BEFORE_NS),
    };
    world.nodes.insert(name.into(), ip.into());
    object(world, "node", name, "snapshot", T0_NS - BEFORE_NS, &body)
}

/// `pod NAME IP on=NODE [workload=NAME] [created=T] [seen=T] [hostnetwork]`; a second address
/// behind a comma.
pub(crate) fn pod(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let (name, ips) = (words.at(1)?, words.at(2)?);
    let node = words.option("on").context("a pod is on a node")?;
    let created_ns = words.moment("created")?.unwrap_or(T0_NS - BEFORE_NS);
    let ips: Vec<String> = ips.split(',').map(str::to_owned).collect();
    let body = cluster::Pod {
        node_name: Some(node.into()),
        host_network: words.has("hostnetwork"),
        phase: "Running".into(),
        owner_kind: Some("ReplicaSet".into()),
        owner_name: words.option("workload").map(str::to_owned),
        created_at_ns: Some(created_ns),
        started_at_ns: Some(created_ns),
        deletion_at_ns: None,
        ips,
    };
    let seen_ns = words.moment("seen")?.unwrap_or(created_ns);
    let change = if created_ns < T0_NS { "snapshot" } else { "added" };
    object(world, "pod", name, change, seen_ns, &body)?;
    let facts = PodFacts { uid: uid(name), ip: body.ips[0].clone(), node: node.into(), body };
    world.pods.insert(name.into(), facts);
    Ok(())
}

/// `terminating POD at=T`: its deletion was asked for. `deleted POD at=T`: it is gone.
pub(crate) fn ending(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let (what, name) = (words.at(0)?, words.at(1)?);
    let at_ns = words.moment("at")?.context("when?")?;
    let pod = world.pods.get_mut(name).with_context(|| format!("no pod {name}"))?;
    pod.body.deletion_at_ns.get_or_insert(at_ns);
    let body = pod.body.clone();
    let change = if what == "deleted" { "deleted" } else { "modified" };
    object(world, "pod", name, change, at_ns, &body)
}

/// `service NAME IP:PORT|none|external [nodeport=N] [lb=IP] [ipmode=proxy] [name=DNS]`
pub(crate) fn service(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let (name, address) = (words.at(1)?, words.at(2)?);
    let node_port = words.number("nodeport")?.map(|port| port as i32);
    let lb: Vec<String> = words.option("lb").map(str::to_owned).into_iter().collect();
    let is_proxy = words.option("ipmode") == Some("proxy");
    let mut body = cluster::Service {
        service_type: if lb.is_empty() { "ClusterIP" } else { "LoadBalancer" }.into(),
        load_balancer_proxies: if is_proxy { lb.clone() } else { Vec::new() },
        load_balancer_ips: lb,
        created_at_ns: Some(T0_NS - BEFORE_NS),
        ..cluster::Service::default()
    };
    match address {
        "headless" => body.headless = true,
        "external" => {
            body.service_type = "ExternalName".into();
            body.external_name = words.option("name").map(str::to_owned);
        }
        _ => {
            let (ip, port) = end(address)?;
            body.cluster_ips = vec![ip.into()];
            body.ports = vec![cluster::ServicePort {
                protocol: "TCP".into(),
                port,
                node_port,
                ..Default::default()
            }];
        }
    }
    world.services.insert(name.into(), address.into());
    object(world, "service", name, "snapshot", T0_NS - BEFORE_NS, &body)
}

/// `endpoints SERVICE PORT POD... [at=T] [second]`: all of them from then on, by their first or
/// second addresses. `POD!` is terminating and
/// still serving.
pub(crate) fn endpoints(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let (service, port) = (words.at(1)?, words.at(2)?);
    let at_ns = words.moment("at")?;
    // A slice holds addresses of one family; the second address of a pod is of the other.
    let family = usize::from(words.has("second"));
    let mut body = cluster::EndpointSlice {
        service_name: Some(service.into()),
        ports: vec![port.parse()?],
        created_at_ns: Some(T0_NS - BEFORE_NS),
        ..cluster::EndpointSlice::default()
    };
    for word in words.rest(3).iter().filter(|word| **word != "second") {
        let name = word.trim_end_matches('!');
        let pod = world.pods.get(name).with_context(|| format!("no pod {name}"))?;
        let is_terminating = word.ends_with('!');
        let ip = pod.body.ips.get(family).with_context(|| format!("{name} has one address"))?;
        body.endpoints.push(cluster::Endpoint {
            ip: ip.clone(),
            ready: !is_terminating,
            serving: true,
            terminating: is_terminating,
            node_name: Some(pod.node.clone()),
            pod_uid: Some(pod.uid.clone()),
        });
    }
    let change = if at_ns.is_some() { "modified" } else { "snapshot" };
    let name = format!("{service}-slice-{family}");
    object(world, "endpointslice", &name, change, at_ns.unwrap_or(T0_NS - BEFORE_NS), &body)
}

/// `agent NODE`: it watches from a minute before. `agent NODE stop=T`, `agent NODE lost=N
/// at=T`, `agent NODE epoch=SPAN at=T` say more of it.
pub(crate) fn agent(world: &mut World, words: &Words<'_>) -> anyhow::Result<()> {
    let node = words.at(1)?;
    let agent = world.agents.entry(node.into()).or_insert_with(|| Agent {
        covered_ns: T0_NS - 60 * join::SECOND,
        stops_ns: None,
        losses: Vec::new(),
        epochs: vec![(i64::MIN, 0)],
    });
    if let Some(at_ns) = words.moment("stop")? {
        agent.stops_ns = Some(at_ns);
    }
    if let Some(count) = words.number("lost")? {
        let at_ns = words.moment("at")?.context("lost when?")?;
        agent.losses.push(Loss { at_ns, count });
    }
    if let Some(epoch) = words.option("epoch") {
        let at_ns = words.moment("at")?.unwrap_or(i64::MIN);
        agent.epochs.push((at_ns, span(epoch)?));
    }
    Ok(())
}

fn object(
    world: &mut World,
    kind: &str,
    name: &str,
    change: &str,
    at_ns: i64,
    body: &impl serde::Serialize,
) -> anyhow::Result<()> {
    let origin = world.origin("kubernetes", "api", at_ns);
    world.arrived.cluster_objects.push(ClusterObject {
        kind: kind.into(),
        uid: uid(name),
        namespace: if kind == "node" { "" } else { NAMESPACE }.into(),
        name: name.into(),
        resource_version: origin.sequence.to_string(),
        change: change.into(),
        body: serde_json::to_string(body)?,
        ..ClusterObject::from_origin(&origin)
    });
    Ok(())
}

fn uid(name: &str) -> String {
    format!("uid-{name}")
}
