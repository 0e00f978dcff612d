//! Jobs that fail.

use cupola_domain::{
    ids::JobId,
    jobs::{Job, JobState},
};
use cupola_ports::{
    clock::Clock,
    store::{self, Store},
};
use cupola_testkit::TestPlatform;
use serde_json::json;

/// A job that cannot be read, as one of a newer version would be.
async fn broken_job(platform: &TestPlatform) -> JobId {
    let now = platform.clock.now();
    let job = Job {
        id: JobId::random(),
        operation: "app.delete".to_owned(),
        state: JobState::Processing,
        errors: Vec::new(),
        warnings: Vec::new(),
        failures: 0,
        input: json!({}),
        created_at: now,
        updated_at: now,
    };
    let mut tx = platform.store.write(None).await.unwrap();
    store::insert(&mut *tx, &job).await.unwrap();
    tx.commit().await.unwrap();
    job.id
}

#[tokio::test]
async fn job_that_the_platform_lets_fail_is_begun_again_a_few_times() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let path = format!("/v3/jobs/{}", broken_job(&platform).await);

    for _ in 0..4 {
        let failed = platform.control.run_jobs(None).await;
        assert!(failed.is_err());
        assert_eq!(admin.get(&path).await.expect(200)["state"], "PROCESSING");
    }
    platform.control.run_jobs(None).await.unwrap_err();

    let job = admin.get(&path).await;
    assert_eq!(job.expect(200)["state"], "FAILED");
    assert_eq!(job.body["errors"][0]["detail"], "reading the input of a job failed");
    assert_eq!(platform.control.run_jobs(None).await.unwrap(), 0);
}

#[tokio::test]
async fn job_that_fails_does_not_keep_others_from_being_done() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    broken_job(&platform).await;
    let deleted = admin.delete(&format!("/v3/spaces/{}", platform.space)).await;

    platform.control.run_jobs(None).await.unwrap_err();

    assert_eq!(admin.get(&deleted.location()).await.expect(200)["state"], "COMPLETE");
}
