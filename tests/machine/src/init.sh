#!/busybox sh
# First process of the machine: finds the host's files and its own disk, and runs /job on top of both.
b=/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs devtmpfs /dev
# A module goes in once those it needs are in.
left=$($b ls /modules)
for round in 1 2 3 4 5 6 7 8; do
    again=
    for module in $left; do $b insmod /modules/$module 2>/dev/null || again="$again $module"; done
    left=$again
done
[ -z "$left" ] || echo "modules that the kernel refused:$left"
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 host /host || exit 1
$b mount -t ext4 /dev/vda /disk || exit 1
$b mkdir /disk/upper /disk/work /disk/tmp
$b chmod 1777 /disk/tmp
$b mount -t overlay -o lowerdir=/host,upperdir=/disk/upper,workdir=/disk/work overlay /root || exit 1
$b mount -t proc proc /root/proc
$b mount -t sysfs sysfs /root/sys
$b mount -t devtmpfs devtmpfs /root/dev
$b mkdir -p /root/dev/pts /root/dev/shm /root/dev/mqueue
$b mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /root/dev/pts
$b mount -t tmpfs tmpfs /root/dev/shm
$b mount -t mqueue mqueue /root/dev/mqueue
$b ln -s /proc/self/fd /root/dev/fd
for number in 0:stdin 1:stdout 2:stderr; do
    $b ln -s /proc/self/fd/${number%:*} /root/dev/${number#*:}
done
$b mount -t tmpfs tmpfs /root/run
$b mount -t securityfs securityfs /root/sys/kernel/security
[ ! -d /root/sys/fs/selinux ] || $b mount -t selinuxfs selinuxfs /root/sys/fs/selinux
$b mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
for controller in $($b cat /root/sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /root/sys/fs/cgroup/cgroup.subtree_control
done
# What the host keeps in /tmp is to be seen by those who know its name, and new files belong on the disk.
$b mkdir -p /root/machine
$b mount --bind /disk/tmp /root/machine
$b cp /job /root/machine/job
$b ifconfig lo up
exec $b switch_root /root /bin/sh -c '
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/machine
    cd /machine
    sh ./job < /dev/null
    printf "\n%s %d\n" "$1" $?
    sync
    echo o > /proc/sysrq-trigger
    while :; do :; done
' sh "$END"
