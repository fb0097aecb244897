#!/bin/sh
# Starts Apache with deploy/tls/site.conf. Without a certificate in /certificates, it makes one of its own.
set -eu
if [ ! -s /certificates/localhost.pem ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout /certificates/localhost.key -out /certificates/localhost.pem
fi
cp /tls/site.conf /etc/apache2/sites-enabled/tls.conf
# The module's own ports.conf would listen on 443 a second time.
sed -i '/^[[:space:]]*Listen 443/d' /etc/apache2/ports.conf
a2enmod --quiet ssl
exec "$@"
