//! Another machine, as far as packets can tell: a network namespace with an address of its own in a
//! private range, where a server answers.

use std::{
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Instant,
};

use cupola_domain::ids::InstanceId;

use crate::host::PATIENCE;

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    namespace: String,
    server: Child,
}

impl Peer {
    pub(crate) fn new() -> Self {
        // By chance: other tests run at the same time.
        let random = InstanceId::random().uuid().as_u128();
        let name = format!("tp{:08x}", random >> 96);
        let network = format!("192.168.{}", 100 + (random >> 8) % 100);
        let number = 4 * (random % 60);
        let (near, far) =
            (format!("{network}.{}", number + 1), format!("{network}.{}", number + 2));
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"));
        ip(&format!("address add {near}/30 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} address add {far}/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} route add default via {near}"));
        let address: SocketAddr = format!("{far}:8080").parse().unwrap();
        let server = Command::new("ip")
            .args(["netns", "exec", &name, env!("CARGO_BIN_EXE_cupola-runtime-test-roles")])
            .args(["test-app", "serve", &address.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Self { address, namespace: name, server };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
        }
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        ip(&format!("link delete {}", self.namespace));
        ip(&format!("netns delete {}", self.namespace));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}
