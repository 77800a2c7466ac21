# Runs a test below systemd: MANAGER TEST PROGRAM OTHERS...
# The manager of the machine is the first process of a pid namespace and has a cgroup of its own as its root. The
# process that waits for it stays outside: a cgroup with members hands no controllers down.
manager=$1 test=$2 program=$3
shift 3
place=/machine/place
mkdir -p $place/deps
chmod 755 $place
cp "$program" $place/deps/test
[ $# = 0 ] || cp "$@" $place
cat > $place/job.sh <<END
cd $place
INCLAVARE_TEST_ALL=1 TMPDIR=$place INCLAVARE_TEST_MANAGER=$manager \\
    deps/test '$test' --exact --nocapture --test-threads 1 > output 2>&1
echo \$? > code
END
unit() {
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nDelegate=yes\n'
    printf '%s\n' "$@"
}
case $manager in
system)
    unit "ExecStart=/bin/sh $place/job.sh" 'ExecStopPost=/bin/systemctl --no-block exit' > $place/job.service
    ;;
user)
    chown -R 1000:1000 $place
    unit "ExecStart=/bin/sh $place/job.sh" 'ExecStopPost=/bin/systemctl --user --no-block exit' > $place/user.service
    unit 'User=1000' 'Environment=XDG_RUNTIME_DIR=/run/user/1000 HOME=/run/user/1000' \
        'ExecStart=/lib/systemd/systemd --user --unit=user.service --log-target=console' \
        'ExecStopPost=+/bin/systemctl --no-block exit' > $place/job.service
    ;;
esac
mkdir /sys/fs/cgroup/machine
cat > $place/boot.sh <<END
mount -t proc proc /proc
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/user/1000/systemd/user
cp $place/job.service /run/systemd/system
[ ! -e $place/user.service ] || cp $place/user.service /run/user/1000/systemd/user
chown -R 1000:1000 /run/user/1000
exec env -i container=machine PATH=\$PATH /lib/systemd/systemd --system --unit=job.service \\
    --log-target=console --log-level=err --show-status=no
END
unshare --mount --pid --fork --kill-child sh -c "
    echo 0 > /sys/fs/cgroup/machine/cgroup.procs
    exec unshare --cgroup sh $place/boot.sh"
cat $place/output
exit "$(cat $place/code)"
