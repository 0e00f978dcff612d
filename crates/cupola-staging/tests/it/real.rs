use crate::platform::TestPlatform;
use crate::zips::Zip;
use std::time::Instant;

#[tokio::test]
async fn real() {
    let Some(dir) = std::env::var_os("REAL_DIR") else { return };
    let bps: Vec<String> = std::env::var_os("REAL_BP")
        .map(|b| b.to_str().unwrap().split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    let platform = TestPlatform::with(|c| {
        c.host_environment = cupola_staging::host_registry_environment(
            std::env::vars_os()
                .filter_map(|(a, b)| Some((a.into_string().ok()?, b.into_string().ok()?))),
            &cupola_staging::HostFiles::read(std::path::Path::new("/root")),
        );
        eprintln!("{:#?}", c.host_environment);
    });
    let dir = std::path::PathBuf::from(dir);
    let mut zip = Zip::new();
    for f in crate::fake::walk(&dir, &dir) {
        zip = zip.file_with_mode(&f.path, &std::fs::read_to_string(&f.host_path).unwrap(), f.mode);
    }
    let package = platform.upload(Some(&zip), vec![]).await.unwrap();
    for _ in 0..2 {
        let t = Instant::now();
        let n = platform.log.texts().len();
        let mut r =
            platform.request(package.clone(), &bps.iter().map(String::as_str).collect::<Vec<_>>());
        r.detect_order = cupola_staging::builtin_buildpacks().into_iter().map(|b| b.name).collect();
        let out = platform.stage(r).await;
        eprintln!("{}", platform.log.texts()[n..].join("\n"));
        eprintln!("{out:#?} in {:?}", t.elapsed());
    }
}
