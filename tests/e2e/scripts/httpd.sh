# busybox: a web server and its clients over loopback, by name and by number, and what is beyond.
mkdir -p /www; echo 'hello from inside' > /www/index.html
dd if=/dev/zero bs=1000 count=700 2>/dev/null | tr '\0' x > /www/big
httpd -p 8080 -h /www
wget -q -O - http://127.0.0.1:8080/index.html
wget -q -O - http://localhost:8080/; wget -q -O - 'http://[::1]:8080/'
for i in 1 2 3 4; do wget -q -O /tmp/big$i http://localhost:8080/big & done; wait
for i in 1 2 3 4; do cmp /www/big /tmp/big$i && echo "same $i"; done
wget -q -O - http://127.0.0.1:8080/none 2>/dev/null; echo "none $?"
wget -q -O - http://127.0.0.1:8081/ 2>&1; echo "nobody $?"
nc -l -p 9000 > /tmp/received & listener=$!
until echo 'through a pipe and a socket' | nc 127.0.0.1 9000 2>/dev/null; do usleep 10000; done
wait $listener; cat /tmp/received
grep -c ' 0A ' /proc/net/tcp /proc/net/tcp6
netstat -ltn | grep -c :8080
ifconfig lo | grep -o 'inet addr:127.0.0.1'
