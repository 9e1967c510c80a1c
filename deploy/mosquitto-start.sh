#!/bin/sh
# Make the password file from the environment, then become the broker.
set -eu
passwords=/mosquitto/data/passwords
: > "$passwords"
chmod 600 "$passwords"
mosquitto_passwd -b "$passwords" edge "$EDGE_PASSWORD"
mosquitto_passwd -b "$passwords" simulator "$SIMULATOR_PASSWORD"
for pair in ${VEHICLE_PASSWORDS:-}; do
  mosquitto_passwd -b "$passwords" "${pair%%:*}" "${pair#*:}"
done
chown -R mosquitto:mosquitto /mosquitto/data
exec mosquitto -c /mosquitto/config/mosquitto.conf
