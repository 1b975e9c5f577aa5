#!/bin/bash
# What an EC2 instance runs at its first boot: code/train.py on the data of one run, then it is gone. pipeline/ec2.py
# writes this run's values above. The instance terminates when it shuts down, so every way out of here is `shutdown`.
set -euo pipefail
umask 077
export HOME="${HOME:-/root}" AWS_DEFAULT_REGION="$REGION"
export PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

step=start
work= log= uploader=

upload() { timeout 300 aws s3 cp --only-show-errors "$1" "$RUN_URI/${1##*/}"; }

finish() {
  code=$?
  trap - EXIT TERM INT
  set +e
  [ -z "$uploader" ] || kill "$uploader"
  status=Failed
  [ "$code" -ne 0 ] || status=Succeeded
  [ "$code" -eq 0 ] || [ "$SECONDS" -lt "$DEADLINE_SECONDS" ] || status=TimedOut
  echo "$status: step $step ended with code $code after $SECONDS s"
  if [ -n "$log" ]; then
    printf '{"status": "%s", "step": "%s", "exit_code": %d, "seconds": %d}\n' \
      "$status" "$step" "$code" "$SECONDS" >"$work/result.json"
    upload "$log"
    upload "$work/result.json"
  fi
  shutdown -h now
}
trap finish EXIT
trap 'exit 143' TERM INT

# This one holds also where the script itself hangs or is killed. `now` above replaces it.
shutdown -h "+$((DEADLINE_SECONDS / 60 + 15))"

# Nothing goes on for longer than what is left of the deadline; coreutils' own code for that is 124.
within_deadline() {
  local left=$((DEADLINE_SECONDS - SECONDS))
  [ "$left" -gt 0 ] || return 124
  timeout --kill-after=30 "$left" "$@"
}

# Not /tmp: on Amazon Linux that is memory.
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
log=$work/train.log
touch "$log"
exec >>"$log" 2>&1
# A spot instance that is taken away leaves the log as it was a minute before.
(while sleep 60; do upload "$log"; done) &
uploader=$!

step=fetch
within_deadline aws s3 cp --only-show-errors "$BUNDLE_URI" "$work/sourcedir.tar.gz"
echo "$BUNDLE_SHA256  $work/sourcedir.tar.gz" | sha256sum --check --quiet
mkdir "$work/code" "$work/model"
tar -xzf "$work/sourcedir.tar.gz" -C "$work/code" --no-same-owner
directories=(--model-dir "$work/model")
for channel in "${!CHANNELS[@]}"; do
  within_deadline aws s3 sync --only-show-errors "${CHANNELS[$channel]}" "$work/$channel"
  directories+=("--$channel" "$work/$channel")
done

step=train
python=/opt/pytorch/bin/python # where the Deep Learning AMI keeps PyTorch
[ -x "$python" ] || python=python3
cd "$work"
within_deadline "$python" -u code/train.py "${directories[@]}" "${HYPERPARAMETERS[@]}"

step=store
tar -czf "$work/model.tar.gz" -C "$work/model" .
sha256sum "$work/model.tar.gz" # into the log: a package that is registered names it
within_deadline aws s3 cp --only-show-errors "$work/model.tar.gz" "$RUN_URI/model.tar.gz"
step=done
