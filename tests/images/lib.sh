# What the scripts here share: a Docker daemon that answers, and images that are pulled or else built here.
# A daemon that was started here is named in .cache/images/dockerd.pid; run-container-tests stops it afterwards.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$root/.cache/images
mkdir -p "$work"

say() { echo "images: $*" >&2; }
die() { say "$*"; exit 1; }

# Debian packages for the commands named first, only if one of them is missing.
install_packages() {
  local commands=$1; shift
  for command in $commands; do
    if ! command -v "$command" >/dev/null; then
      [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        die "\`$command\` is missing and this is no Debian system with root rights: install $*, or start a Docker daemon"
      say "installing $*"
      { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$work/apt.log" 2>&1 ||
        { tail -20 "$work/apt.log" >&2; die "apt-get could not install $*"; }
      return
    fi
  done
}

daemon_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

start_daemon() {
  if daemon_answers; then return; fi
  install_packages "dockerd docker iptables" docker.io iptables
  if daemon_answers; then return; fi  # where a service manager runs, installing it has started it
  # dockerd speaks to the kernel through `iptables`; the legacy one works in more sandboxes than the nft one. It is
  # chosen for this daemon alone, by a folder in front of its PATH.
  mkdir -p "$work/bin"
  for tool in iptables ip6tables; do
    if command -v "$tool-legacy" >/dev/null; then ln -sf "$(command -v "$tool-legacy")" "$work/bin/$tool"; fi
  done
  say "starting dockerd"
  PATH="$work/bin:$PATH" setsid nohup dockerd >"$work/dockerd.log" 2>&1 </dev/null &
  echo $! >"$work/dockerd.pid"
  for _ in $(seq 60); do
    if daemon_answers; then return; fi
    kill -0 "$(cat "$work/dockerd.pid")" 2>/dev/null || break
    sleep 0.5
  done
  tail -20 "$work/dockerd.log" >&2
  die "dockerd did not answer within 30 s; the tests with a container cannot run"
}

# The image named first: it is there, or is pulled, or is built by the function named second, of the files named after.
have_image() {
  local image=$1 build=$2; shift 2
  # What was built here says what of, so that it is built anew when that changes. What was pulled has a digest.
  made_of=$(cat "$root/tests/images/lib.sh" "$@" | sha256sum | cut -c1-16)
  local there='{{len .RepoDigests}} {{index .Config.Labels "costream.made-of"}}'
  there=$(docker image inspect --format "$there" "$image" 2>/dev/null) || there=
  if [ -n "$there" ] && { [ "${there%% *}" != 0 ] || [ "${there#* }" = "$made_of" ]; }; then
    say "$image is there"
  elif timeout 120 docker pull -q "$image" >"$work/pull.log" 2>&1; then
    say "pulled $image"
  else
    say "$image cannot be pulled here ($(tail -1 "$work/pull.log" | cut -c1-160)); building it"
    "$build"
    say "built $image"
  fi
}

# The folder named first as the image named second, with what it says of itself after that.
import_image() {
  local folder=$1 image=$2; shift 2
  local changes=(--change "LABEL costream.made-of=$made_of")
  for said in "$@"; do changes+=(--change "$said"); done
  tar -C "$folder" -c . | docker import "${changes[@]}" - "$image" >/dev/null
}

# A minimal Debian in the folder named first, with the packages named second; kept for the next build.
make_debian() {
  local folder=$1 packages=${2:-}
  if [ -d "$folder" ]; then return; fi
  install_packages debootstrap debootstrap
  say "building the Debian base ${folder##*/}"
  rm -rf "$folder.partial"
  debootstrap --variant=minbase ${packages:+"--include=$packages"} bookworm "$folder.partial" >"$work/debootstrap.log" 2>&1 ||
    { tail -20 "$work/debootstrap.log" >&2; die "debootstrap failed"; }
  rm -rf "$folder.partial"/var/cache/apt/* "$folder.partial"/var/lib/apt/lists/*
  mv "$folder.partial" "$folder"
}
