//! Interfaces, addresses and routes, through the kernel's netlink sockets.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use futures_util::future::try_join;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        link::{InfoData, InfoKind, InfoVeth},
        route::RouteScope,
    },
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

use crate::error::{Doing, RuntimeError};

/// The numbers of the interfaces in a new network namespace: the kernel makes the first.
const LOOPBACK: u32 = 1;
const ETH0: u32 = 2;

/// One container's connection to the host.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) interface: String,
    pub(super) gateway: Ipv4Addr,
    pub(super) address: Ipv4Addr,
}

/// A netlink socket in the host's network namespace.
#[derive(Debug)]
pub(super) struct Links {
    handle: Handle,
}

impl Links {
    pub(super) fn open() -> Result<Self, RuntimeError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().doing(|| "open a netlink socket".to_owned())?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Makes the pair of interfaces and both its ends usable.
    pub(super) async fn connect(&self, link: &Link, net: &OwnedFd) -> Result<(), RuntimeError> {
        // Made in its namespace at once: moving it there later takes ten times as long.
        let peer = LinkUnspec::new_with_name("eth0").index(ETH0).setns_by_fd(net.as_raw_fd());
        let veth = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(link.interface.clone())
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())))
            .build();
        // One that a container with this address left behind dies asynchronously.
        self.remove(&link.interface).await;
        self.handle.link().add(veth).execute().await.map_err(failed("make the interfaces"))?;
        let inner = link.clone();
        let inside =
            in_namespace(net, move |handle| async move { inner.set_up_inside(&handle).await });
        try_join(inside, self.set_up_outside(link)).await.map(drop)
    }

    /// Only the loopback interface works.
    pub(super) async fn loopback_only(&self, net: &OwnedFd) -> Result<(), RuntimeError> {
        in_namespace(net, |handle| async move { set_up(&handle, LOOPBACK).await }).await
    }

    /// Removes an interface of the host if it is there. Its peer goes with it.
    pub(super) async fn remove(&self, interface: &str) {
        if let Some(index) = index_of(interface) {
            let _ = self.handle.link().del(index).execute().await;
        }
    }

    async fn set_up_outside(&self, link: &Link) -> Result<(), RuntimeError> {
        let index = index_of(&link.interface).ok_or_else(|| RuntimeError::Io {
            action: format!("find the interface `{}`", link.interface),
            source: io::ErrorKind::NotFound.into(),
        })?;
        // No address by itself, no neighbour messages: IPv6 ends here.
        let setting = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", link.interface);
        let _ = fs::write(setting, "1");
        set_up(&self.handle, index).await?;
        self.handle
            .address()
            .add(index, link.gateway.into(), 32)
            .execute()
            .await
            .map_err(failed("give the host its address"))?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(link.address, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        self.handle
            .route()
            .add(route)
            .replace()
            .execute()
            .await
            .map_err(failed("make the route to the container"))
    }
}

impl Link {
    async fn set_up_inside(&self, handle: &Handle) -> Result<(), RuntimeError> {
        let _ = fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1");
        set_up(handle, LOOPBACK).await?;
        handle
            .address()
            .add(ETH0, self.address.into(), 32)
            .execute()
            .await
            .map_err(failed("give the container its address"))?;
        set_up(handle, ETH0).await?;
        let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(self.gateway, 32)
            .output_interface(ETH0)
            .scope(RouteScope::Link)
            .build();
        let to_all = RouteMessageBuilder::<Ipv4Addr>::new()
            .output_interface(ETH0)
            .gateway(self.gateway)
            .build();
        for route in [to_gateway, to_all] {
            handle
                .route()
                .add(route)
                .execute()
                .await
                .map_err(failed("make the routes of the container"))?;
        }
        Ok(())
    }
}

async fn set_up(handle: &Handle, index: u32) -> Result<(), RuntimeError> {
    let message = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(message).execute().await.map_err(failed("bring an interface up"))
}

/// Runs netlink work in another network namespace, on a thread that ends with it: a thread that
/// has changed its namespace is of no use to anybody else.
async fn in_namespace<F>(
    net: &OwnedFd,
    work: impl FnOnce(Handle) -> F + Send + 'static,
) -> Result<(), RuntimeError>
where
    F: Future<Output = Result<(), RuntimeError>>,
{
    let net = net.try_clone().doing(|| "keep a network namespace".to_owned())?;
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            let _ = done.send(run_in_namespace(&net, work));
        })
        .doing(|| "start a thread".to_owned())?;
    result.await.unwrap_or_else(|_| {
        Err(RuntimeError::Io {
            action: "set up a network namespace".to_owned(),
            source: io::Error::other("its thread ended"),
        })
    })
}

fn run_in_namespace<F>(net: &OwnedFd, work: impl FnOnce(Handle) -> F) -> Result<(), RuntimeError>
where
    F: Future<Output = Result<(), RuntimeError>>,
{
    let what = || "enter a network namespace".to_owned();
    move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network)).doing(what)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing(what)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().doing(what)?;
        tokio::spawn(connection);
        work(handle).await
    })
}

fn failed(action: &'static str) -> impl FnOnce(rtnetlink::Error) -> RuntimeError {
    move |error| RuntimeError::Network { action, source: Box::new(error) }
}

fn index_of(interface: &str) -> Option<u32> {
    fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).ok()?.trim().parse().ok()
}

/// The interfaces of the host whose names start with `prefix`.
pub(super) fn names_with(prefix: &str) -> Vec<String> {
    fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect()
}
