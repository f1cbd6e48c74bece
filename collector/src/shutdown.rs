//! The stop signal: asked for once, seen by everyone who accepts input.

use tokio::sync::watch;

/// Held by whoever may ask everything to stop.
pub struct Stop(watch::Sender<bool>);

/// Held by whoever has to stop.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

pub fn channel() -> (Stop, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Stop(sender), Shutdown(receiver))
}

impl Stop {
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Resolves once a stop was requested, or nobody is left who could.
    pub async fn requested(&self) {
        let _ = self.0.clone().wait_for(|&requested| requested).await;
    }

    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}
