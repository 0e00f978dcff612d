//! Jobs: long operations as rows, run by a loop, continued after a restart.
//!
//! Invariant: an operation may be run again from its beginning at any point, because control may be
//! killed at any point. It ends in the same state.

use cupola_domain::{
    ids::{
        AppId, BuildpackId, DomainId, DropletId, JobId, OrgId, PackageId, RoleId, RouteId, SpaceId,
        UserId,
    },
    jobs::{ApiError, Job, JobState},
};
use cupola_ports::store::{self, Lease, Query, WriteTx};
use serde::{Deserialize, Serialize};

use crate::{Control, ControlError, caller::Caller};

/// A job that the platform itself lets fail is begun this often.
const ATTEMPTS_MAX: u32 = 5;

/// What a job has to do. The stored form: variants are added, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum JobInput {
    DeleteOrg {
        org: OrgId,
    },
    DeleteSpace {
        space: SpaceId,
    },
    DeleteUser {
        user: UserId,
    },
    DeleteRole {
        role: RoleId,
    },
    DeleteDomain {
        domain: DomainId,
    },
    DeleteApp {
        app: AppId,
    },
    DeleteRoute {
        route: RouteId,
    },
    DeleteUnmappedRoutes {
        space: SpaceId,
    },
    DeleteBuildpack {
        buildpack: BuildpackId,
    },
    ApplyManifest {
        space: SpaceId,
        manifest: String,
    },
    DeletePackage {
        package: PackageId,
    },
    DeleteDroplet {
        droplet: DropletId,
    },
    ClearBuildCache {
        app: AppId,
    },
    /// Done by whoever received the upload, and not by the loop: it may take minutes.
    UploadDroplet {
        droplet: DropletId,
    },
}

impl JobInput {
    /// The name that the API shows.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::DeleteOrg { .. } => "organization.delete",
            Self::DeleteSpace { .. } => "space.delete",
            Self::DeleteUser { .. } => "user.delete",
            Self::DeleteRole { .. } => "role.delete",
            Self::DeleteDomain { .. } => "domain.delete",
            Self::DeleteApp { .. } => "app.delete",
            Self::DeleteRoute { .. } => "route.delete",
            Self::DeleteUnmappedRoutes { .. } => "space.delete_unmapped_routes",
            Self::DeleteBuildpack { .. } => "buildpack.delete",
            Self::ApplyManifest { .. } => "space.apply_manifest",
            Self::DeletePackage { .. } => "package.delete",
            Self::DeleteDroplet { .. } => "droplet.delete",
            Self::ClearBuildCache { .. } => "app.clear_buildpack_cache",
            Self::UploadDroplet { .. } => "droplet.upload",
        }
    }
}

/// How a job is stored: what to do, and on whose behalf.
#[derive(Serialize, Deserialize)]
struct StoredInput {
    user_id: UserId,
    username: String,
    admin: bool,
    input: JobInput,
}

impl Control {
    /// Writes a job that the loop takes up once `tx` is committed.
    pub(crate) async fn enqueue(
        &self,
        tx: &mut (impl WriteTx + ?Sized),
        caller: &Caller,
        input: JobInput,
    ) -> Result<Job, ControlError> {
        self.insert_job(tx, caller, input, JobState::Processing).await
    }

    /// As `enqueue`, for what does not wait for the loop: its doer ends it with `end_job`.
    pub(crate) async fn begin_job(
        &self,
        tx: &mut (impl WriteTx + ?Sized),
        caller: &Caller,
        input: JobInput,
    ) -> Result<Job, ControlError> {
        self.insert_job(tx, caller, input, JobState::Polling).await
    }

    /// Ends a job that was begun with `begin_job`; none is an end that is good.
    pub(crate) async fn end_job(
        &self,
        tx: &mut (impl WriteTx + ?Sized),
        id: JobId,
        failure: Option<&ControlError>,
    ) -> Result<(), ControlError> {
        let Some(mut job) = store::get::<Job>(tx, id).await? else { return Ok(()) };
        job.state = if failure.is_some() { JobState::Failed } else { JobState::Complete };
        job.errors = failure.map(api_error).into_iter().collect();
        job.updated_at = self.ports.clock.now();
        Ok(store::update(tx, &job).await?)
    }

    async fn insert_job(
        &self,
        tx: &mut (impl WriteTx + ?Sized),
        caller: &Caller,
        input: JobInput,
        state: JobState,
    ) -> Result<Job, ControlError> {
        let now = self.ports.clock.now();
        let operation = input.operation().to_owned();
        let stored = StoredInput {
            user_id: caller.user_id,
            username: caller.username.clone(),
            admin: caller.admin,
            input,
        };
        let input = serde_json::to_value(stored).expect("job inputs have string keys only");
        let job = Job {
            id: JobId::random(),
            operation,
            state,
            errors: Vec::new(),
            warnings: Vec::new(),
            failures: 0,
            input,
            created_at: now,
            updated_at: now,
        };
        store::insert(tx, &job).await?;
        Ok(job)
    }

    /// The job, as soon as it is at its end or the time to hold a request is over. Knowing its id
    /// is enough to see it, as upstream.
    pub async fn job(&self, id: JobId) -> Result<Job, ControlError> {
        let mut hold = self.hold();
        loop {
            let mut tx = self.read().await?;
            let job = store::get::<Job>(&mut *tx, id).await?;
            drop(tx);
            let job = job.ok_or(ControlError::NotFound { noun: "Job" })?;
            let ended = matches!(job.state, JobState::Complete | JobState::Failed);
            if ended || !hold.changed().await {
                return Ok(job);
            }
        }
    }

    /// Runs every job that is not at its end, oldest first, and returns how many there were.
    /// Called by the loop after each commit and once at start. An error is one of the platform
    /// itself; the job that it ended is begun again by a later call, until it has failed too often.
    pub async fn run_jobs(&self, lease: Option<&Lease>) -> Result<usize, ControlError> {
        let mut tx = self.read().await?;
        let open = store::list::<Job>(&mut *tx, &Query::by("state", "PROCESSING")).await?.items;
        drop(tx);
        let count = open.len();
        let mut failed = None;
        for job in open {
            if let Err(error) = self.run_job(job, lease).await {
                failed = failed.or(Some(error));
            }
        }
        failed.map_or(Ok(count), Err)
    }

    async fn run_job(&self, mut job: Job, lease: Option<&Lease>) -> Result<(), ControlError> {
        let outcome = match serde_json::from_value::<StoredInput>(job.input.clone()) {
            Ok(stored) => {
                let StoredInput { user_id, username, admin, input } = stored;
                self.perform(&Caller { user_id, username, admin }, input).await
            }
            Err(source) => Err(ControlError::Outside {
                action: "reading the input of a job",
                source: Box::new(source),
            }),
        };
        let mut failure = None;
        match outcome {
            Ok(warnings) => {
                job.state = JobState::Complete;
                job.warnings = warnings;
            }
            Err(error @ (ControlError::Store(_) | ControlError::Outside { .. })) => {
                job.failures += 1;
                if job.failures >= ATTEMPTS_MAX {
                    let id = job.id;
                    tracing::error!(job.id = %id, job.operation, "the job was given up: {error}");
                    job.state = JobState::Failed;
                    job.errors = vec![api_error(&error)];
                }
                failure = Some(error);
            }
            Err(error) => {
                tracing::info!(job.id = %job.id, job.operation, "job failed: {error}");
                job.state = JobState::Failed;
                job.errors = vec![api_error(&error)];
            }
        }
        job.updated_at = self.ports.clock.now();
        let mut tx = self.ports.store.write(lease).await?;
        store::update(&mut *tx, &job).await?;
        tx.commit().await?;
        failure.map_or(Ok(()), Err)
    }

    async fn perform(&self, caller: &Caller, input: JobInput) -> Result<Vec<String>, ControlError> {
        match input {
            JobInput::DeleteOrg { org } => self.perform_delete_org(org).await,
            JobInput::DeleteSpace { space } => self.perform_delete_space(space).await,
            JobInput::DeleteUser { user } => self.perform_delete_user(caller, user).await,
            JobInput::DeleteRole { role } => self.perform_delete_role(caller, role).await,
            JobInput::DeleteDomain { domain } => self.perform_delete_domain(domain).await,
            JobInput::DeleteApp { app } => self.perform_delete_app(app).await,
            JobInput::DeleteRoute { route } => self.perform_delete_route(route).await,
            JobInput::DeleteUnmappedRoutes { space } => {
                self.perform_delete_unmapped_routes(space).await
            }
            JobInput::DeleteBuildpack { buildpack } => {
                self.perform_delete_buildpack(caller, buildpack).await
            }
            JobInput::ApplyManifest { space, manifest } => {
                self.perform_apply_manifest(caller, space, &manifest).await
            }
            JobInput::DeletePackage { package } => self.perform_delete_package(package).await,
            JobInput::DeleteDroplet { droplet } => self.perform_delete_droplet(droplet).await,
            JobInput::ClearBuildCache { app } => self.perform_clear_build_cache(app).await,
            JobInput::UploadDroplet { .. } => {
                Err(ControlError::unprocessable("the upload was interrupted; send it again"))
            }
        }
    }
}

/// The error of a failed job, as the API shows it.
fn api_error(error: &ControlError) -> ApiError {
    let (code, title) = error.code_and_title();
    ApiError { code, title: title.to_owned(), detail: error.to_string() }
}
