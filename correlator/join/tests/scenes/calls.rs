//! Calls as scenes make them: what both ends see of one, and the usual ones.

use crate::scene::{CART_0, CART_VIP, FRONTEND_0, INGRESS, Pod, Scene};

/// One call as both ends see it.
pub(crate) struct Call<'a> {
    pub(crate) from: &'a Pod,
    pub(crate) from_port: i32,
    /// What the client addressed.
    pub(crate) to: (&'a str, i32),
    pub(crate) server: &'a Pod,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) client_thread: i64,
    pub(crate) server_thread: i64,
    pub(crate) bytes: i64,
}

/// A call by one thread of frontend-0 to the Service cart.
pub(crate) fn cart_call(start: i64, end: i64, thread: i64) -> Call<'static> {
    Call {
        from: &FRONTEND_0,
        from_port: 51_000 + i32::try_from(start % 1_000).unwrap(),
        to: CART_VIP,
        server: &CART_0,
        start,
        end,
        client_thread: thread,
        server_thread: 30 + start % 7,
        bytes: 200,
    }
}

/// A call to a pod by its own address; threads of the client and of the server.
pub(crate) fn to_pod<'a>(
    from: &'a Pod,
    server: &'a Pod,
    port: i32,
    start: i64,
    end: i64,
    threads: (i64, i64),
) -> Call<'a> {
    Call {
        from,
        from_port: port,
        to: (server.ip, 8080),
        server,
        start,
        end,
        client_thread: threads.0,
        server_thread: threads.1,
        bytes: 400,
    }
}

/// client -> ingress -> frontend-0, with the ingress's line.
pub(crate) fn request_from_outside(scene: &mut Scene, n: i32, start: i64, end: i64, thread: i64) {
    scene.arrival(40_000 + n, start, end, 300 + i64::from(n));
    let port = 50_000 + n;
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, port, start + 2, end - 2, (77, thread)));
    let id = format!("id{n}");
    scene.log(&id, end, end - start, 300 + i64::from(n), &[(&FRONTEND_0, end - start - 4, 200)]);
}
