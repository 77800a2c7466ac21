# redis: a server with a pool of clients over loopback, a transaction, a subscription, a snapshot by fork.
redis-server --port 6379 --save '' --daemonize yes --logfile /tmp/log --dir /tmp >/dev/null
until [ "$(redis-cli ping 2>/dev/null)" = PONG ]; do sleep 0.05; done
redis-cli set key value; redis-cli get key
for i in {1..50}; do echo "incr counter"; done | redis-cli | tail -1
redis-cli -h ::1 -p 6379 ping 2>&1 | head -1
redis-cli -h localhost mset a 1 b 2; printf 'multi\nincr a\nincr b\nexec\n' | redis-cli | tail -2
(redis-cli --csv subscribe news | head -2 | tail -1) & subscriber=$!
until [ "$(redis-cli publish news hello)" = 1 ]; do sleep 0.05; done; wait $subscriber
head -c 300000 /dev/zero | tr '\0' z | redis-cli -x set large; redis-cli strlen large
redis-cli bgsave >/dev/null; until [ -s /tmp/dump.rdb ]; do sleep 0.05; done; echo "saved $?"
redis-benchmark -q -n 2000 -c 20 -t set,get -P 4 --csv | wc -l
redis-cli shutdown nosave; redis-cli ping 2>&1 | grep -c refused
