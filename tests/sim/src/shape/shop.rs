//! The lab's shop: what the real end-to-end runs drive, without the lab.

use super::{Arrivals, Branch, Operation, Plan, Service, Shape, Tree};
use crate::chance::Spread;
use crate::dials::{Dials, SECOND, Threads};

const FRONTEND: u16 = 0;
const CART: u16 = 1;
const PRICE: u16 = 2;
const STORE: u16 = 3;

const fn about(min_us: i64, mean_us: i64) -> Spread {
    Spread::Exponential { min: min_us * 1_000, mean: mean_us * 1_000 }
}

pub(super) fn shape(dials: &Dials) -> Shape {
    let replicas = |default| dials.replicas.unwrap_or(default);
    let store = Service {
        port: 6379,
        service_port: 6379,
        threads: Threads::Loop,
        is_traced: false,
        ..Service::named("store", 1)
    };
    let services = vec![
        Service::named("frontend", replicas(2)),
        Service::named("cart", replicas(3)),
        Service::named("price", replicas(2)),
        store,
    ];
    let routes = ["/products/{}", "/cart/{}", "/price/{}", "/audit/{}", "/checkout/{}", "/"];
    let operations =
        routes.map(|route| Operation { method: "GET", route: route.to_owned() }).to_vec();
    Shape {
        services,
        operations,
        plans: vec![Plan::of(products()), Plan::of(checkout())],
        arrivals: Arrivals::Drawn { rate: dials.rate.unwrap_or(25.0) },
        nodes: dials.nodes.unwrap_or(2),
        active_timeout_ns: dials.active_timeout.unwrap_or(60 * SECOND),
    }
}

fn leaf(service: u16, operation: u32, tail: Spread) -> Tree {
    Tree { service, operation, tail, network_ns: None, calls: Vec::new() }
}

fn branch(after: Option<u16>, gap: Spread, callee: Tree) -> Branch {
    Branch { after, gap, probability: 1.0, awaited: true, callee }
}

/// frontend -> cart -> price, store, and now and then cart again.
fn products() -> Tree {
    let audit = Branch {
        probability: 0.2,
        ..branch(Some(1), about(60, 60), leaf(CART, 3, about(200, 300)))
    };
    let cart = Tree {
        service: CART,
        operation: 1,
        tail: about(80, 200),
        network_ns: None,
        calls: vec![
            branch(None, about(150, 200), leaf(PRICE, 2, about(800, 2_000))),
            branch(Some(0), about(80, 80), leaf(STORE, 5, about(60, 100))),
            audit,
        ],
    };
    Tree {
        service: FRONTEND,
        operation: 0,
        tail: about(200, 300),
        network_ns: None,
        calls: vec![branch(None, about(100, 200), cart)],
    }
}

/// frontend -> cart and price at once, then the store.
fn checkout() -> Tree {
    Tree {
        service: FRONTEND,
        operation: 4,
        tail: about(300, 300),
        network_ns: None,
        calls: vec![
            branch(None, about(100, 100), leaf(CART, 1, about(500, 1_500))),
            branch(None, about(150, 100), leaf(PRICE, 2, about(500, 1_500))),
            branch(Some(0), about(80, 100), leaf(STORE, 5, about(60, 100))),
        ],
    }
}
