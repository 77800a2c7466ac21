#!/bin/sh
# Lays the built library out below a prefix: headers, shared and static library, pkg-config files.
#   crates/common/rats-tls-c/install.sh target/release /usr/local
set -eu
[ $# -eq 2 ] || { echo "usage: install.sh BUILD-DIRECTORY PREFIX" >&2; exit 2; }
build=$1 prefix=$2 here=$(dirname "$0")
for file in librats_tls_c.so librats_tls_c.a; do
    [ -f "$build/$file" ] || { echo "$build/$file: not there; build it: cargo build -p rats-tls-c" >&2; exit 1; }
done
mkdir -p "$prefix/lib/pkgconfig" "$prefix/include/rats-tls" "$prefix/include/enclave-tls"
install -m 644 "$here"/include/rats-tls/*.h "$prefix/include/rats-tls"
install -m 644 "$here"/include/enclave-tls/*.h "$prefix/include/enclave-tls"
install -m 755 "$build/librats_tls_c.so" "$prefix/lib/librats_tls.so.1"
ln -sf librats_tls.so.1 "$prefix/lib/librats_tls.so"
install -m 644 "$build/librats_tls_c.a" "$prefix/lib/librats_tls.a"
for name in rats-tls enclave-tls; do
    sed "s|@PREFIX@|$prefix|" "$here/pkgconfig/$name.pc" > "$prefix/lib/pkgconfig/$name.pc"
done
