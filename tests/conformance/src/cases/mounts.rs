//! The file system.

use crate::{Bundle, Runtime, expect, expect_part};
use serde_json::json;
use std::os::unix::fs::symlink;

super::cases!(
    default_devices_and_links_exist,
    listed_devices_are_made,
    masked_paths_are_empty,
    readonly_paths_refuse_writing,
    a_readonly_root_refuses_writing,
    a_bind_mount_is_shown,
    a_readonly_bind_mount_refuses_writing,
    a_file_is_bound_over_a_missing_one,
    bind_options_are_applied,
    links_in_the_root_do_not_lead_out,
    tmpfs_takes_the_old_contents_if_asked,
    tmpfs_keeps_the_directorys_mode,
    the_hosts_tree_is_gone,
    recursive_bind_shows_mounts_below,
    cgroup_mount_shows_only_its_own,
    rootfs_by_absolute_path,
    recursive_attributes_reach_mounts_below,
    an_id_mapped_mount_shows_other_owners,
    the_roots_propagation_is_set,
    a_mount_can_be_shared_with_the_host,
);

fn run(
    runtime: &Runtime,
    script: &str,
    change: impl FnOnce(&mut Bundle),
) -> Result<String, String> {
    let mut bundle = Bundle::new(runtime, script)?;
    change(&mut bundle);
    let outcome = bundle.run()?;
    outcome.expect(0)?;
    Ok(outcome.stdout)
}

fn default_devices_and_links_exist(runtime: &Runtime) -> Result<(), String> {
    let script = "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$d; done; \
                  for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; echo x >/dev/null";
    let got = run(runtime, script, |_| ())?;
    for part in [
        "/dev/null character special file 1:3 666",
        "/dev/zero character special file 1:5 666",
        "/dev/full character special file 1:7 666",
        "/dev/random character special file 1:8 666",
        "/dev/urandom character special file 1:9 666",
        "/dev/tty character special file 5:0 666",
        "/proc/self/fd/1",
        "pts/ptmx",
    ] {
        expect_part("devices", &got, part)?;
    }
    Ok(())
}

fn listed_devices_are_made(runtime: &Runtime) -> Result<(), String> {
    let got = run(
        runtime,
        "stat -c '%F %t:%T %a %u %g' /dev/sub/my; stat -c '%F' /dev/pipe",
        |b| {
            b.set("/linux/devices", json!([
            {"path": "/dev/sub/my", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
        ]));
        },
    )?;
    expect("devices", got.as_str(), "character special file 1:5 640 3 4\nfifo\n")
}

fn masked_paths_are_empty(runtime: &Runtime) -> Result<(), String> {
    let got = run(
        runtime,
        "wc -c </proc/keys; ls -A /proc/acpi | wc -l; ls -A /sys/firmware | wc -l; \
                   touch /sys/firmware/x 2>/dev/null || echo refused",
        |_| (),
    )?;
    expect("masked", got.as_str(), "0\n0\n0\nrefused\n")
}

fn readonly_paths_refuse_writing(runtime: &Runtime) -> Result<(), String> {
    let got =
        run(runtime, "echo 1 2>/dev/null >/proc/sys/kernel/domainname || echo refused", |_| ())?;
    expect("output", got.as_str(), "refused\n")
}

fn a_readonly_root_refuses_writing(runtime: &Runtime) -> Result<(), String> {
    let got =
        run(runtime, "touch /x 2>/dev/null || echo refused; touch /dev/shm/x && echo made", |b| {
            b.set("/root/readonly", json!(true));
        })?;
    expect("output", got.as_str(), "refused\nmade\n")
}

fn a_bind_mount_is_shown(runtime: &Runtime) -> Result<(), String> {
    let outside = tempfile::tempdir().map_err(|e| e.to_string())?;
    std::fs::write(outside.path().join("f"), "hello\n").map_err(|e| e.to_string())?;
    let got = run(runtime, "cat /mnt/new/dir/f; echo back >/mnt/new/dir/g", |b| {
        b.push(
            "/mounts",
            json!({"destination": "/mnt/new/dir", "type": "bind",
            "source": outside.path(), "options": ["bind"]}),
        );
    })?;
    expect("output", got.as_str(), "hello\n")?;
    let back = std::fs::read_to_string(outside.path().join("g")).unwrap_or_default();
    expect("written through", back.as_str(), "back\n")
}

fn a_readonly_bind_mount_refuses_writing(runtime: &Runtime) -> Result<(), String> {
    let outside = tempfile::tempdir().map_err(|e| e.to_string())?;
    let got = run(runtime, "touch /mnt/x 2>/dev/null || echo refused", |b| {
        b.push(
            "/mounts",
            json!({"destination": "/mnt", "type": "bind", "source": outside.path(),
            "options": ["rbind", "ro"]}),
        );
    })?;
    expect("output", got.as_str(), "refused\n")
}

fn a_file_is_bound_over_a_missing_one(runtime: &Runtime) -> Result<(), String> {
    let outside = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    std::fs::write(outside.path(), "file\n").map_err(|e| e.to_string())?;
    let got = run(runtime, "cat /etc/deep/file", |b| {
        b.push(
            "/mounts",
            json!({"destination": "/etc/deep/file", "source": outside.path(),
            "options": ["bind", "ro"]}),
        );
    })?;
    expect("output", got.as_str(), "file\n")
}

fn bind_options_are_applied(runtime: &Runtime) -> Result<(), String> {
    let outside = tempfile::tempdir().map_err(|e| e.to_string())?;
    let got = run(runtime, "grep ' /mnt ' /proc/self/mounts | cut -d' ' -f4", |b| {
        b.push(
            "/mounts",
            json!({"destination": "/mnt", "type": "bind", "source": outside.path(),
            "options": ["bind", "nosuid", "nodev", "noexec", "rslave"]}),
        );
    })?;
    for part in ["nosuid", "nodev", "noexec"] {
        expect_part("options", &got, part)?;
    }
    Ok(())
}

fn links_in_the_root_do_not_lead_out(runtime: &Runtime) -> Result<(), String> {
    let outside = tempfile::tempdir().map_err(|e| e.to_string())?;
    let source = tempfile::tempdir().map_err(|e| e.to_string())?;
    std::fs::write(source.path().join("f"), "in\n").map_err(|e| e.to_string())?;
    let mut bundle = Bundle::new(runtime, "cat /evil/sub/f; cat /up/f")?;
    symlink(outside.path(), bundle.rootfs().join("evil")).map_err(|e| e.to_string())?;
    symlink("../../../../../../../../mnt", bundle.rootfs().join("up"))
        .map_err(|e| e.to_string())?;
    for destination in ["/evil/sub", "/up"] {
        bundle.push(
            "/mounts",
            json!({"destination": destination, "type": "bind",
            "source": source.path(), "options": ["bind"]}),
        );
    }
    let outcome = bundle.run()?;
    outcome.expect(0)?;
    expect("output", outcome.stdout.as_str(), "in\nin\n")?;
    let made = std::fs::read_dir(outside.path()).map_err(|e| e.to_string())?.count();
    expect("entries made outside", made, 0)
}

fn tmpfs_takes_the_old_contents_if_asked(runtime: &Runtime) -> Result<(), String> {
    let got = run(
        runtime,
        "cat /etc/passwd | head -1; touch /etc/new; grep ' /etc ' /proc/self/mounts | cut -d' ' -f1",
        |b| {
            b.push(
                "/mounts",
                json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs",
            "options": ["tmpcopyup", "nosuid"]}),
            );
        },
    )?;
    expect("output", got.as_str(), "root:x:0:0:root:/root:/bin/sh\ntmpfs\n")
}

fn tmpfs_keeps_the_directorys_mode(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "stat -c %a /mnt")?;
    std::fs::set_permissions(
        bundle.rootfs().join("mnt"),
        std::os::unix::fs::PermissionsExt::from_mode(0o1750),
    )
    .map_err(|e| e.to_string())?;
    bundle.push("/mounts", json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}));
    let outcome = bundle.run()?;
    expect("mode", outcome.stdout.as_str(), "1750\n")
}

fn the_hosts_tree_is_gone(runtime: &Runtime) -> Result<(), String> {
    let got = run(
        runtime,
        "grep -c -e ' /usr' -e ' /work' -e ' /home' /proc/self/mounts; \
                   ls /proc/1/root/ | tr '\\n' ' '",
        |_| (),
    )?;
    expect("output", got.as_str(), "0\nbin dev etc mnt proc sys tmp ")
}

fn recursive_bind_shows_mounts_below(runtime: &Runtime) -> Result<(), String> {
    let got = run(runtime, "grep -c ' /mnt/' /proc/self/mounts; ls -d /mnt/shm", |b| {
        b.push(
            "/mounts",
            json!({"destination": "/mnt", "type": "bind", "source": "/dev",
            "options": ["rbind", "ro"]}),
        );
    })?;
    expect_part("output", &got, "/mnt/shm")?;
    if got.starts_with('0') {
        return Err("mounts below: expected some, got none".into());
    }
    Ok(())
}

fn cgroup_mount_shows_only_its_own(runtime: &Runtime) -> Result<(), String> {
    let got = run(
        runtime,
        "ls /sys/fs/cgroup | sort | tr '\\n' ' '; cat /sys/fs/cgroup/pids/cgroup.procs | wc -l; \
                   mkdir /sys/fs/cgroup/pids/x 2>/dev/null || echo refused",
        |_| (),
    )?;
    expect_part("controllers", &got, "memory")?;
    expect_part("writing", &got, "refused")
}

fn rootfs_by_absolute_path(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "echo here")?;
    let root = bundle.rootfs();
    bundle.set("/root/path", json!(root));
    expect("output", bundle.run()?.expect(0)?.stdout.as_str(), "here\n")
}

fn recursive_attributes_reach_mounts_below(runtime: &Runtime) -> Result<(), String> {
    let script = "touch /mnt/shm/x 2>/dev/null || echo refused; \
                  grep ' /mnt/shm ' /proc/self/mounts | cut -d' ' -f4 | tr ',' '\\n' | grep -x -e ro -e noexec | sort -u";
    let got = run(runtime, script, |b| {
        b.push(
            "/mounts",
            json!({"destination": "/mnt", "type": "bind", "source": "/dev",
            "options": ["rbind", "rro", "rnoexec"]}),
        );
    })?;
    expect("output", got.as_str(), "refused\nnoexec\nro\n")
}

fn an_id_mapped_mount_shows_other_owners(runtime: &Runtime) -> Result<(), String> {
    let outside = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = outside.path().join("f");
    std::fs::write(&file, "").map_err(|e| e.to_string())?;
    std::os::unix::fs::chown(&file, Some(70), Some(71)).map_err(|e| e.to_string())?;
    let got = run(runtime, "stat -c '%u %g' /mnt/f", |b| {
        b.push("/linux/namespaces", json!({"type": "user"}));
        let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
        b.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps.clone());
        b.push(
            "/mounts",
            json!({"destination": "/mnt", "type": "bind", "source": outside.path(),
            "options": ["bind", "idmap"], "uidMappings": maps, "gidMappings": maps}),
        );
    })?;
    // Owner 70 of the disk is 100070 of the host is 70 of the container.
    expect("owner", got.as_str(), "70 71\n")
}

fn the_roots_propagation_is_set(runtime: &Runtime) -> Result<(), String> {
    for (name, mark) in [("shared", "shared:"), ("private", ""), ("unbindable", "unbindable")] {
        let script = "grep ' / / \\| /.* / ' /proc/self/mountinfo | head -1";
        let got = run(runtime, script, |b| {
            b.set("/linux/rootfsPropagation", json!(name));
        })?;
        if mark.is_empty() {
            if got.contains("shared:") || got.contains("unbindable") {
                return Err(format!("{name}: expected a private mount, got {got:?}"));
            }
        } else {
            expect_part(name, &got, mark)?;
        }
    }
    Ok(())
}

fn a_mount_can_be_shared_with_the_host(runtime: &Runtime) -> Result<(), String> {
    let got = run(runtime, "grep ' /mnt ' /proc/self/mountinfo", |b| {
        b.push(
            "/mounts",
            json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["shared"]}),
        );
    })?;
    expect_part("mount", &got, "shared:")
}
