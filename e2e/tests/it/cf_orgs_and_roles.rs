//! Organisations, spaces, users and flags, and who may do what with them.

use crate::{
    apps::{binary_app, push},
    cf_story::{FORBIDDEN, user, words},
    cli::Cli,
    platform::Platform,
};

#[test]
fn cf_administrator_makes_and_removes_organisations_spaces_users_and_roles() {
    let platform = Platform::start();
    let cf = platform.cf_admin();

    cf.types("create-org acme").says("OK");
    cf.types("create-org acme").says("Organization 'acme' already exists.");
    cf.types("orgs").says("acme").says("default");
    cf.types("org acme").says("domains:").says("apps.localhost").says("quota:");
    cf.types("create-space web -o acme").says("Assigning role SpaceDeveloper to user admin");
    cf.types("create-space web -o acme").says("Space 'web' already exists.");
    cf.types("target -o acme -s web").says("space:          web");
    cf.types("spaces").says("web");
    cf.types("space web").says("org:").says("acme").says("isolation segment:");
    cf.is_refused("space nothing").says("Space 'nothing' not found");
    cf.is_refused("org nothing").says("Organization 'nothing' not found");
    cf.types("rename-org acme acme2").says("OK");
    cf.types("rename-space web site").says("OK");
    cf.types("org acme2").says("site");
    cf.types("set-label org acme2 a=b").says("OK");
    cf.types("labels org acme2").says("a");
    cf.types("set-label space site a=b").says("OK");

    cf.types("create-user olga password").says("Creating user olga").says("OK");
    cf.types("create-user olga password").says("User 'olga' already exists.");
    cf.types("set-org-role olga acme2 OrgManager").says("OK");
    cf.types("set-org-role olga acme2 OrgManager").says("already has role");
    cf.types("set-space-role olga acme2 site SpaceDeveloper").says("OK");
    cf.types("set-space-role olga acme2 site SpaceAuditor").says("OK");
    cf.is_refused("set-org-role nobody acme2 OrgManager").says("nobody");
    cf.types("org-users acme2").says("ORG MANAGER\n  olga (uaa)").says("No ORG AUDITOR found");
    cf.types("org-users acme2 -a").says("ORG USERS").says("admin (uaa)").says("olga (uaa)");
    let users = cf.types("space-users acme2 site");
    users.says("SPACE DEVELOPER\n  admin (uaa)\n  olga (uaa)").says("SPACE AUDITOR\n  olga (uaa)");
    cf.types("unset-space-role olga acme2 site SpaceDeveloper").says("OK");
    cf.types("space-users acme2 site").does_not_say("admin (uaa)\n  olga (uaa)");
    cf.types("unset-org-role olga acme2 OrgManager").says("OK");
    cf.types("org-users acme2").says("No ORG MANAGER found");
    cf.types("delete-user -f olga").says("OK");
    cf.types("delete-user -f olga").says("User 'olga' does not exist.");
    cf.types("space-users acme2 site").does_not_say("olga");

    let flags = cf.types("feature-flags");
    flags.says("diego_docker").says("route_creation").says("disabled").says("enabled");
    cf.types("enable-feature-flag user_org_creation").says("OK");
    cf.types("feature-flag user_org_creation").says("enabled");
    cf.types("disable-feature-flag user_org_creation").says("OK");
    cf.types("feature-flag user_org_creation").says("disabled");
    cf.is_refused("enable-feature-flag nothing").says("Feature flag 'nothing' not found.");
    let buildpacks = cf.types("buildpacks");
    for name in ["staticfile", "nodejs", "go", "python", "binary"] {
        buildpacks.says(&format!("{name}_buildpack"));
    }
    cf.types("stacks").says("host");
    cf.types("stack host").says("host");
    cf.is_refused("stack nothing").says("Stack 'nothing' not found");

    // What is in them goes with them.
    let pushed = push(&cf, "doomed", &binary_app(&platform, "doomed"), &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    cf.types("delete-space -f site -o acme2").says("OK");
    platform.wait_for_status("doomed", 404);
    cf.types("create-space another -o acme2");
    cf.types("target -o acme2 -s another");
    let pushed = push(&cf, "doomed", &binary_app(&platform, "doomed"), &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    cf.types("delete-org -f acme2").says("OK");
    platform.wait_for_status("doomed", 404);
    cf.types("delete-org -f acme2").says("Org 'acme2' does not exist.");
    cf.types("orgs").does_not_say("acme2");
}

/// Every kind of user that is not an administrator.
struct Crowd {
    org_manager: Cli,
    org_auditor: Cli,
    billing_manager: Cli,
    space_manager: Cli,
    developer: Cli,
    supporter: Cli,
    auditor: Cli,
    stranger: Cli,
}

impl Crowd {
    fn gather(platform: &Platform, admin: &Cli) -> Self {
        let org = |name: &str, role: &str| {
            let cf = user(platform, admin, name);
            admin.types(&format!("set-org-role {name} default {role}"));
            cf
        };
        let space = |name: &str, role: &str| {
            let cf = user(platform, admin, name);
            admin.types(&format!("set-space-role {name} default dev {role}"));
            cf
        };
        let crowd = Self {
            org_manager: org("org-manager", "OrgManager"),
            org_auditor: org("org-auditor", "OrgAuditor"),
            billing_manager: org("billing-manager", "BillingManager"),
            space_manager: space("space-manager", "SpaceManager"),
            developer: space("developer", "SpaceDeveloper"),
            supporter: space("supporter", "SpaceSupporter"),
            auditor: space("auditor", "SpaceAuditor"),
            stranger: user(platform, admin, "stranger"),
        };
        for seeing in crowd.seeing() {
            seeing.types("target -o default -s dev").says("space:          dev");
        }
        for blind in crowd.blind() {
            blind.is_refused("target -o default -s dev").says("not found");
            blind.aim_like(admin);
        }
        crowd
    }

    /// Those who see the space.
    fn seeing(&self) -> [&Cli; 5] {
        [&self.org_manager, &self.space_manager, &self.developer, &self.supporter, &self.auditor]
    }

    /// Those who do not.
    fn blind(&self) -> [&Cli; 3] {
        [&self.org_auditor, &self.billing_manager, &self.stranger]
    }

    /// Each of `may` may, the others who see it may not, and to the rest it is not there.
    #[track_caller]
    fn only(&self, may: &[&Cli], line: &str) {
        self.only_after(|| (), may, line);
        self.hidden(line);
    }

    /// The same of those who see it, each after a preparation.
    #[track_caller]
    fn only_after(&self, prepare: impl Fn(), may: &[&Cli], line: &str) {
        for cf in self.seeing() {
            prepare();
            if may.iter().any(|one| std::ptr::eq(*one, cf)) {
                cf.types(line);
            } else {
                cf.is_refused(line).says(FORBIDDEN);
            }
        }
    }

    #[track_caller]
    fn hidden(&self, line: &str) {
        for cf in self.blind() {
            let ran = cf.run(&words(line));
            let is_told = ["not found", "does not exist", "No apps", "No routes", "Ensure that"];
            assert!(is_told.iter().any(|text| ran.contains(text)), "it is not hidden: {ran}");
            assert!(!ran.contains(FORBIDDEN), "it is told to be there: {ran}");
        }
    }
}

#[test]
fn cf_roles_decide_who_sees_and_changes_apps_and_routes() {
    let platform = Platform::start();
    let admin = platform.cf_admin();
    let folder = binary_app(&platform, "victim");
    let pushed = push(&admin, "victim", &folder, &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    admin.types("create-route apps.localhost --hostname spare");
    let crowd = Crowd::gather(&platform, &admin);
    let all = crowd.seeing();
    let developers = [&crowd.developer];
    let operators = [&crowd.developer, &crowd.supporter];

    for line in ["app victim", "apps", "routes", "events victim", "logs victim --recent"] {
        crowd.only(&all, line);
    }
    crowd.only(&all, "get-health-check victim");
    crowd.only(&all, "labels app victim");

    for line in [
        "scale victim -i 1",
        "restart-app-instance victim 0",
        "restart victim",
        "restage victim",
        "env victim",
        "set-env victim KEY value",
        "unset-env victim KEY",
        "set-health-check victim port",
    ] {
        crowd.only(&operators, line);
    }
    let (map, unmap) = (
        "map-route victim apps.localhost --hostname spare",
        "unmap-route victim apps.localhost --hostname spare",
    );
    crowd.only_after(|| drop(admin.run(&words(unmap))), &operators, map);
    crowd.only_after(|| drop(admin.run(&words(map))), &operators, unmap);
    crowd.hidden(map);
    // What is so already is not asked for, so that it is undone before each.
    let (make, delete) = (
        "create-route apps.localhost --hostname extra",
        "delete-route -f apps.localhost --hostname extra",
    );
    for (before, line) in [
        ("start victim", "stop victim"),
        ("stop victim", "start victim"),
        (delete, make),
        (make, delete),
    ] {
        crowd.only_after(|| drop(admin.types(before)), &operators, line);
        crowd.hidden(line);
    }
    crowd.only(&operators, "delete-orphaned-routes -f");

    let folder = folder.to_str().unwrap();
    let push_again =
        format!("push victim -p {folder} -b binary_buildpack -m 32M -k 64M --no-start");
    for line in [
        "set-label app victim team=red",
        "unset-label app victim team",
        "create-app-manifest victim -p /dev/null",
        "rename victim victim",
        push_again.as_str(),
    ] {
        crowd.only(&developers, line);
    }

    for cf in all.into_iter().filter(|cf| !std::ptr::eq(*cf, &crowd.developer)) {
        cf.is_refused("delete -f victim").says(FORBIDDEN);
    }
    crowd.hidden("delete -f victim");
    // The developer's push with `--no-start` stopped it; nobody else did more.
    admin.types("start victim").says("victim.apps.localhost").says("#0   running");
    crowd.developer.types("delete -f -r victim").says("OK");
}

#[test]
fn cf_roles_decide_who_changes_spaces_organisations_and_the_platform() {
    let platform = Platform::start();
    let admin = platform.cf_admin();
    let crowd = Crowd::gather(&platform, &admin);
    let managers = [&crowd.org_manager, &crowd.space_manager];

    crowd.only(&crowd.seeing(), "space dev");
    crowd.only(&crowd.seeing(), "space-users default dev");
    let give = "set-space-role developer default dev SpaceSupporter";
    crowd.only(&managers, give);
    let take = "unset-space-role developer default dev SpaceSupporter";
    crowd.only_after(|| drop(admin.types(give)), &managers, take);
    crowd.hidden(take);
    crowd.only(&managers, "set-label space dev a=b");
    crowd.only(&managers, "rename-space dev dev");

    let members = [
        &crowd.space_manager,
        &crowd.developer,
        &crowd.auditor,
        &crowd.org_auditor,
        &crowd.billing_manager,
    ];
    for cf in members {
        cf.types("org default").says("default");
        cf.types("org-users default").says("org-manager (uaa)");
        for line in [
            "set-org-role auditor default OrgAuditor",
            "create-space more -o default",
            "set-label org default a=b",
            "rename-org default default",
            "delete-org -f default",
        ] {
            cf.is_refused(line).says(FORBIDDEN);
        }
    }
    for line in ["org default", "org-users default", "set-org-role auditor default OrgAuditor"] {
        crowd.stranger.is_refused(line).says("Organization 'default' not found");
    }
    crowd.stranger.types("orgs").says("No orgs found");
    crowd.org_manager.types("set-org-role auditor default OrgAuditor").says("OK");
    crowd.org_manager.types("unset-org-role auditor default OrgAuditor").says("OK");
    crowd.org_manager.types("create-space more -o default").says("OK");
    crowd.org_manager.types("set-label org default a=b").says("OK");
    crowd.developer.types("spaces").does_not_say("more");
    crowd.org_manager.types("delete-space -f more -o default").says("OK");
    crowd.org_manager.is_refused("delete-org -f default").says(FORBIDDEN);
    for cf in [&crowd.space_manager, &crowd.developer, &crowd.supporter, &crowd.auditor] {
        cf.is_refused("delete-space -f dev -o default").says(FORBIDDEN);
    }

    // What belongs to the platform is the administrator's alone.
    for cf in [&crowd.org_manager, &crowd.developer, &crowd.stranger] {
        cf.is_refused("create-org mine").says("user_org_creation");
        cf.is_refused("create-user friend password").says(FORBIDDEN);
        cf.is_refused("delete-user -f auditor").says(FORBIDDEN);
        cf.is_refused("enable-feature-flag diego_docker").says(FORBIDDEN);
        cf.types("feature-flags");
        cf.types("buildpacks").says("binary_buildpack");
        cf.types("stacks").says("host");
    }
    admin.types("enable-feature-flag user_org_creation");
    crowd.stranger.types("create-org mine").says("OK");
    crowd.stranger.types("create-space own -o mine").says("SpaceDeveloper");
    crowd.developer.is_refused("org mine").says("not found");
}
