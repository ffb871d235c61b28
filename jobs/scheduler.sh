#!/usr/bin/env bash
# A Dask scheduler and workers by hand, on any machines that reach each other, encrypted in both directions. The document:
#
#   execution:
#     where: tls://login.example.org:8786
#     cluster:
#       tls: {ca: certificates/ca.pem, cert: certificates/cert.pem, key: certificates/key.pem}
#
# Once, and then copied to every machine, readable by you alone:
#   bash jobs/scheduler.sh certificates certificates
# On one machine, and on as many others as there are, once for each core:
#   bash jobs/scheduler.sh scheduler certificates login.example.org:8786
#   bash jobs/scheduler.sh worker certificates login.example.org:8786 --nthreads 1 --memory-limit 3GB
# Then anywhere:
#   darkop run search.yml
# The scheduler and its workers go on when a run ends; stop them with Ctrl-C.
set -euo pipefail

[ "$#" -ge 2 ] || { echo "usage: $0 certificates|scheduler|worker FOLDER [HOST:PORT] [options of dask worker]" >&2; exit 2; }
what="$1" folder="$2" place="${3:-}"
shift $(($# < 3 ? $# : 3))
certificates=(--tls-ca-file "$folder/ca.pem" --tls-cert "$folder/cert.pem" --tls-key "$folder/key.pem")

case "$what" in
  certificates)
    [ ! -e "$folder" ] || { echo "error: $folder exists: name a new folder, or keep the certificates in it" >&2; exit 2; }
    umask 077
    mkdir -p -- "$folder"
    cd -- "$folder"
    openssl req -x509 -newkey rsa:3072 -nodes -days 365 -keyout ca.key -out ca.pem -subj /CN=darkop-authority
    openssl req -newkey rsa:3072 -nodes -keyout key.pem -out cert.csr -subj /CN=darkop-dask
    openssl x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -out cert.pem
    rm -f -- cert.csr ca.key ca.srl # one certificate for all: nobody needs to sign another
    ;;
  scheduler)
    exec dask scheduler --host "tls://${place:?give HOST:PORT}" --dashboard-address 127.0.0.1:8787 "${certificates[@]}" "$@"
    ;;
  worker)
    exec dask worker "tls://${place:?give HOST:PORT}" "${certificates[@]}" "$@"
    ;;
  *)
    echo "error: unknown command $what: must be certificates, scheduler or worker" >&2
    exit 2
    ;;
esac
