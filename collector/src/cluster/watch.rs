//! Lists and watches the API server: the only place that names kube.
//!
//! After any error a watch begins anew with a list. The library's own way, going on at the last
//! version, says nothing when it is current again, and can repeat a refused version for ever.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::body::{Kind, Object};
use super::history::Observation;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// An API server that takes longer to say its version is not one whose watch can be trusted.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("read the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("find the cluster this runs in")]
    InCluster(#[from] kube::config::InClusterError),
    #[error("make a client")]
    Client(#[from] kube::Error),
}

/// A cluster that can be watched.
pub struct Watch {
    client: Client,
}

/// Takes a kubeconfig, or the service account of the pod this runs in. Does not connect yet: an
/// API server that is away must not keep the doors closed.
///
/// # Errors
/// When the configuration is missing or wrong.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Watch, ConnectError> {
    let config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::incluster()?,
    };
    Ok(Watch { client: Client::try_from(config)? })
}

impl Watch {
    /// Watches all kinds until the returned set is dropped.
    pub(super) fn start(&self, observations: &mpsc::Sender<Observation>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(watch::<Pod>(self.client.clone(), Kind::Pod, observations.clone()));
        tasks.spawn(watch::<Service>(self.client.clone(), Kind::Service, observations.clone()));
        tasks.spawn(watch::<EndpointSlice>(
            self.client.clone(),
            Kind::EndpointSlice,
            observations.clone(),
        ));
        tasks.spawn(watch::<Node>(self.client.clone(), Kind::Node, observations.clone()));
        tasks
    }

    /// Whether the API server is there to tell of changes.
    pub(super) async fn answers(&self) -> bool {
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, self.client.apiserver_version());
        matches!(asked.await, Ok(Ok(_)))
    }
}

async fn watch<K>(client: Client, kind: Kind, observations: mpsc::Sender<Observation>)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + DeserializeOwned
        + 'static,
    K: Into<Object>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let api: Api<K> = Api::all(client.clone());
        let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
        while let Some(event) = events.next().await {
            let observation = match event {
                Ok(Event::Init) => Observation::Begun(kind),
                Ok(Event::InitApply(object)) => Observation::Listed(object.into()),
                Ok(Event::InitDone) => {
                    pause = FIRST_PAUSE;
                    Observation::Complete(kind)
                }
                Ok(Event::Apply(object)) => Observation::Applied(object.into()),
                Ok(Event::Delete(object)) => Observation::Deleted(object.into()),
                Err(error) => {
                    tracing::warn!(kind = kind.word(), %error, "a watch failed and begins anew");
                    break;
                }
            };
            if observations.send(observation).await.is_err() {
                return;
            }
        }
        if observations.send(Observation::Lost(kind)).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
