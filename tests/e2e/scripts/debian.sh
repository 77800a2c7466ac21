# bash and GNU tools of a Debian root.
set -o pipefail
echo "bash ${BASH_VERSINFO[0]}"; declare -A m=([a]=1 [b]=2); echo "${m[a]}${m[b]} ${#m[@]}"
mkdir -p /tmp/t/sub; for i in {1..20}; do echo "line $i of $((i * i))" > /tmp/t/sub/f$i; done
cat /tmp/t/sub/f* | sort -k2n | sed -n 's/line \([0-9]*\) of \(.*\)/\1=\2/p' | head -5
grep -rl '25$' /tmp/t | sort
find /tmp/t -name 'f1*' -type f | sort | xargs wc -c | tail -1
tar -C /tmp/t -cf /tmp/t.tar sub && tar -tf /tmp/t.tar | wc -l && mkdir /tmp/x && tar -C /tmp/x -xf /tmp/t.tar && diff -r /tmp/t/sub /tmp/x/sub 2>/dev/null || cmp /tmp/t/sub/f7 /tmp/x/sub/f7; echo "same $?"
while read -r a b; do echo "$b $a"; done < <(printf '1 one\n2 two\n')
cut -d: -f1,6 /etc/passwd | head -1; id -u; stat -c '%s %a' /etc/passwd; date -u -d @0 +%Y; uname -s
printf '%s\n' {a..e} | tac | paste -sd,; seq 100 | shuf --random-source=/dev/zero | sort -n | sha256sum
trap 'echo usr1' USR1; kill -USR1 $$; (sleep 0.05; exit 9) & wait $!; echo "bg $?"
coproc cat; echo through >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "coproc $line"; kill $COPROC_PID; wait $COPROC_PID 2>/dev/null
echo "$(</etc/group)" | wc -l; ls -d /usr/bin/ba*; readlink /bin; test -x /bin/ls; echo "x $?"
timeout 0.2 sleep 5; echo "timeout $?"; nproc >/dev/null; df /tmp >/dev/null; dd if=/dev/zero bs=64k count=16 2>/dev/null | cksum
exit 17
