//! Access logs by syslog and from files.

use std::io::Write;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use super::*;
use crate::format::Format;

fn line(id: char) -> String {
    let id = id.to_string().repeat(32);
    format!(
        r#"10.0.0.5 - - [21/Nov/2026:12:00:00 +0000] "GET /x/7?canary=canary HTTP/1.1" 200 10 "-" "canary" 90 0.005 [shop-cart-80] [] 10.0.0.1:80 5 0.004 200 {id}"#
    )
}

fn ids(rows: &Rows) -> Vec<String> {
    let mut ids: Vec<_> =
        rows.access_logs.iter().filter_map(|row| row.request_id.clone()).collect();
    ids.iter_mut().for_each(|id| id.truncate(1));
    ids.sort();
    ids
}

#[tokio::test]
async fn syslog_lines_come_by_udp_and_by_either_framing_of_tcp() {
    let mut house = House::new();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp_address = udp.local_addr().unwrap();
    tokio::spawn(syslog::serve_udp(Arc::clone(&house.intake), udp, house.shutdown.clone()));
    let (listener, tcp_address) = house.listen().await;
    tokio::spawn(syslog::serve_tcp(Arc::clone(&house.intake), listener, house.shutdown.clone()));

    let envelope = |line: &str| format!("<190>Nov 21 12:00:00 ingress-0 nginx: {line}");
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.send_to(envelope(&line('a')).as_bytes(), udp_address).await.unwrap();
    sender.send_to(&envelope(&line('b')).as_bytes()[..120], udp_address).await.unwrap();
    let mut stream = TcpStream::connect(tcp_address).await.unwrap();
    let counted = envelope(&line('d'));
    let framed = format!("{}\n{} {counted}{}", envelope(&line('c')), counted.len(), "<190>cut");
    for part in framed.as_bytes().chunks(50) {
        stream.write_all(part).await.unwrap();
        stream.flush().await.unwrap();
    }
    drop(stream);

    let rows = house.rows_when(5).await;
    assert_eq!(ids(&rows), ["a", "c", "d"]);
    let mut reasons: Vec<_> = rows.quarantine.iter().map(|row| row.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["line_cut", "syslog_header"]);
    assert!(rows.access_logs.iter().all(|row| row.emitter_ip.as_deref() == Some("127.0.0.1")));
    let spooled = std::fs::read(house.folder.path().join("spool/00000000000000000001.spool"));
    assert!(!String::from_utf8_lossy(&spooled.unwrap()).contains("canary"));
}

fn tailed(path: &std::path::Path) -> crate::config::Tailed {
    crate::config::Tailed { format: Format::IngressNginx, path: path.into() }
}

#[tokio::test]
async fn a_followed_file_gives_each_line_once_over_rotation_and_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let write = |text: String| {
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    write(format!("{}\n{}\n{}", line('a'), line('b'), &line('c')[..40]));

    let mut house = House::with(folder, BYTES_IN_FLIGHT_MAX);
    let following = tokio::spawn(file::follow(
        Arc::clone(&house.intake),
        tailed(&path),
        house.shutdown.clone(),
    ));
    assert_eq!(ids(&house.rows_when(2).await), ["a", "b"]);
    write(format!("{}\n", &line('c')[40..]));
    assert_eq!(ids(&house.rows_when(1).await), ["c"]);
    following.abort();
    let _ = following.await;

    // A second follower knows from the spool alone where the first one stood.
    write(format!("{}\n", line('d')));
    tokio::spawn(file::follow(Arc::clone(&house.intake), tailed(&path), house.shutdown.clone()));
    assert_eq!(ids(&house.rows_when(1).await), ["d"]);
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    write(format!("{}\n", line('e')));
    let rotated = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let rows = house.rows();
            if !rows.is_empty() {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert_eq!(ids(&rotated.await.unwrap()), ["e"]);
}
