# Everything a shell is asked to do every day. Runs on Linux and inside; the output must be the same.
echo pipes; echo one two three | tr ' ' '\n' | sort | head -n 2
echo subshell; (cd /tmp && X=inner && echo "$X $(pwd)"); echo "outer ${X-unset}"
echo loops; for i in 1 2 3; do echo "for $i"; done; i=0; while [ $i -lt 3 ]; do i=$((i + 1)); done; echo "while $i"
until [ $i -eq 0 ]; do i=$((i - 1)); done; echo "until $i"
echo substitution; echo "$(echo nested $(echo deep))" `echo old`
echo background; (sleep 0.05; echo late) & echo early; wait; echo "waited $?"
(exit 7) & wait $!; echo "status $?"
echo trap; (trap 'echo got TERM; exit 3' TERM; kill -TERM $(sh -c 'echo $PPID') ; sleep 1; echo never) ; echo "trap status $?"
sh -c 'trap "echo bye" EXIT; exit 4'; echo "exit $?"
echo here; cat <<EOF
plain $((6 * 7))
EOF
cat <<'EOF'
quoted $HOME
EOF
echo redirection; echo first > /tmp/r; echo second >> /tmp/r; cat < /tmp/r; ls /nonexistent 2>/dev/null || echo "no such: $?"
{ echo to-stderr >&2; echo to-stdout; } 2>&1 | sort
echo functions; f() { local a=$1; shift; echo "$a/$#"; return 5; }; f x y z; echo "returned $?"
echo case; case hello in h*o) echo match;; *) echo no;; esac
echo files; mkdir -p /tmp/d/e; echo data > /tmp/d/e/f; cp /tmp/d/e/f /tmp/d/g; mv /tmp/d/g /tmp/d/h; ln -s h /tmp/d/l; cat /tmp/d/l; find /tmp/d | sort; rm -r /tmp/d; [ -e /tmp/d ] || echo gone
echo big; seq 1 20000 | md5sum; head -c 300000 /dev/zero | wc -c
echo signals; sleep 5 & p=$!; kill -9 $p; wait $p; echo "killed $?"
yes | head -n 3; echo "pipe done"
echo exec; exec sh -c 'echo replaced; exit 42'
