//! Serves the API of a test platform, for trying the `cf` CLI against it without containers:
//! `cargo run -p cupola-testkit --example serve`.

use cupola_api::{Listeners, serve};
use cupola_control::caller::Caller;
use cupola_testkit::{TestPlatform, platform::ADMIN_PASSWORD};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let tcp = TcpListener::bind(address).await?;
    let url = format!("http://{}", tcp.local_addr()?);
    let dir = tempfile::tempdir()?;
    let socket = UnixListener::bind(dir.path().join("admin.sock"))?;
    let mut platform = TestPlatform::start_with(|settings| {
        settings.external_url.clone_from(&url);
        settings.hold = std::time::Duration::from_secs(20);
    })
    .await;
    platform.start_loops().await;
    #[expect(clippy::print_stdout, reason = "it is what the example is for")]
    {
        println!("cf api {url} && cf auth admin '{ADMIN_PASSWORD}' && cf target -o default -s dev");
    }
    let (_stop, stopped) = watch::channel(false);
    let listeners = Listeners { tcp, tls: None, admin: (socket, Caller::platform()) };
    serve(platform.router(), listeners, stopped).await;
    Ok(())
}
