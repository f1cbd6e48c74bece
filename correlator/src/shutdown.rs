//! SIGTERM and Ctrl-C as a value that turns true.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub(crate) fn on_signal() -> std::io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Nobody is left to tell when the receiver is gone.
        let _ = sender.send(true);
    });
    Ok(receiver)
}
