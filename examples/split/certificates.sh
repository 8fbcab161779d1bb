#!/bin/sh
# An authority, and certificates of it for the control plane and three proxies, in certs/ beside this file. For trying it: keep the keys
# of a real one where keys are kept. Needs openssl.
set -eu
cd "$(dirname "$0")"
mkdir -p certs
cd certs

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -subj "/CN=weir example" -keyout ca.key -out ca.crt 2>/dev/null

# NAME: a key, and a certificate for that name.
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf 'subjectAltName=DNS:%s\n' "$1" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 \
        -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    rm "$1.csr" "$1.ext"
}

for name in control edge-1 edge-2 edge-3; do
    certificate "$name"
done
# Weir is not root in its containers.
chmod 644 ./*.key
