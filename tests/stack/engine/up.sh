#!/usr/bin/env bash
# Make this machine able to run the repository's own docker-compose.yml, unedited, where there may be
# neither a Docker engine nor an image registry. Safe to run again: what is there already is kept.
#
# The decision this file hides: where the engine, the Compose and buildx plug-ins and the images come from.
#   engine    one that answers is kept; otherwise Debian's docker.io, started by hand (down.sh stops it)
#   plug-ins  kept where they work; otherwise taken from Debian trixie's packages, inside a trixie container
#   images    kept, else pulled, else built here as stand-ins from trixie's packages under the shipped names
#
# Any docker client works with any engine here: both sides negotiate the API version (28.2 talks 1.41 to 20.10).
# DOCKER_API_VERSION would only switch that off for every other engine, so it is left unset on purpose.
#
# Settings: VISIONDRIFT_ENGINE_STATE  where the log, the pid and scratch files live (/var/tmp/visiondrift-engine)
#           VISIONDRIFT_STAND_INS     auto (pull where a registry answers) or always (never ask a registry)
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repo="$(cd "$here/../../.." && pwd)"
state="${VISIONDRIFT_ENGINE_STATE:-/var/tmp/visiondrift-engine}"
stand_ins="${VISIONDRIFT_STAND_INS:-auto}"
scratch="$state/scratch"
suite=trixie
base_image="debian:$suite-slim"
label=visiondrift.stand-in
# What to prepare while the repository's own files do not name their images yet.
fallback_images=(prom/prometheus:v3.13.0 prom/alertmanager:v0.34.0 python:3.13-slim)

say() { printf 'engine: %s\n' "$*"; }
die() { printf 'engine: error: %s\n' "$*" >&2; exit 1; }

install_packages() {  # PACKAGE...: install the missing ones; refresh apt's lists only if that is what it takes
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || die "no apt-get here to install ${missing[*]}: install Docker yourself"
  [[ $EUID -eq 0 ]] || die "must be root to install ${missing[*]}"
  say "apt-get install ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -qq -y --no-install-recommends "${missing[@]}" >"$state/apt.log" 2>&1 && return 0
  apt-get update -qq >>"$state/apt.log" 2>&1 || true
  apt-get install -qq -y --no-install-recommends "${missing[@]}" >>"$state/apt.log" 2>&1 && return 0
  tail -n 20 "$state/apt.log" >&2
  die "apt-get could not install ${missing[*]}"
}

# --- engine -------------------------------------------------------------------------------------------------

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

ensure_engine() {
  local waited
  if ! engine_answers; then
    install_packages docker.io iptables ca-certificates
    engine_answers || start_engine
  fi
  for ((waited = 0; waited < 60; waited++)); do
    engine_answers && break
    sleep 0.5
  done
  if ! engine_answers; then
    [[ -f $state/dockerd.log ]] && tail -n 20 "$state/dockerd.log" >&2
    die "the engine does not answer after 30 s"
  fi
  say "engine $(docker version --format '{{.Server.Version}}, client {{.Client.Version}}')" \
    "speaks API $(docker version --format '{{.Client.APIVersion}}')"
}

# Is any process of that name alive? One that has ended and is not yet collected (a zombie) is not.
is_running() {
  local stat
  for stat in /proc/[0-9]*/stat; do
    # pid (name) state ...
    [[ "$(cat "$stat" 2>/dev/null)" =~ ^[0-9]+\ \($1\)\ [^ZX] ]] && return 0
  done
  return 1
}

start_engine() {
  [[ $EUID -eq 0 ]] || die "no engine answers and only root can start one"
  # An engine that was killed leaves these behind, and the next one believes them where the number is in use again.
  is_running dockerd || rm -f /var/run/docker.pid
  is_running containerd || rm -f /var/run/docker/containerd/containerd.pid
  say "starting dockerd, log in $state/dockerd.log"
  # A session and process group of its own: an interrupted test run must not take the engine with it.
  setsid sh -c 'echo $$ >"$1/dockerd.pid"; exec dockerd' sh "$state" \
    </dev/null >"$state/dockerd.log" 2>&1 9>&- &
}

# --- images -------------------------------------------------------------------------------------------------

stamp() { docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$1" 2>/dev/null || true; }

# IMAGE RECIPE: is a usable image of that name here, or to be had? The real one always is; a stand-in is while its
# stamp matches the recipe it was made from. Fails when the caller has to build the stand-in.
have_image() {
  local image=$1 recipe=$2
  if docker image inspect "$image" >/dev/null 2>&1; then
    case "$(stamp "$image")" in
      "") say "$image: the real image is here"; return 0 ;;
      "$recipe") say "$image: stand-in is here"; return 0 ;;
    esac
  elif [[ $stand_ins == auto ]] && timeout 20 docker manifest inspect "$image" >/dev/null 2>&1; then
    say "$image: pulling"
    docker pull -q "$image" >/dev/null && return 0
  fi
  return 1
}

# This machine's own Debian mirror, read from apt's configuration, so that no host name stands in the repository.
debian_mirror() {
  local codename
  codename="$(. /etc/os-release && [[ $ID == debian ]] && echo "$VERSION_CODENAME")" ||
    die "stand-ins are made from Debian's packages: run this on Debian, or where an image registry answers"
  apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' |
    awk -v release="$codename" '$1 == release && !seen { print $2; seen = 1 }'
}

base_ready=
ensure_base() {
  [[ -z $base_ready ]] || return 0
  make_base
  base_ready=yes
}

make_base() {
  local bundle=/etc/ssl/certs/ca-certificates.crt recipe mirror tree ca
  install_packages ca-certificates
  recipe="$({ cat "$bundle"; declare -f make_base; } | sha256sum | cut -c1-16)"
  have_image "$base_image" "$recipe" && return 0
  install_packages debootstrap debian-archive-keyring
  mirror="$(debian_mirror)"
  [[ -n $mirror ]] || die "apt's configuration names no mirror of this Debian release"
  tree="$scratch/$suite"
  say "$base_image: debootstrap $suite (about half a minute)"
  debootstrap --variant=minbase --include=ca-certificates "$suite" "$tree" "$mirror" >"$state/debootstrap.log" 2>&1 ||
    { tail -n 20 "$state/debootstrap.log" >&2; die "debootstrap failed"; }
  rm -rf "$tree"/var/cache/apt/*.bin "$tree"/var/cache/apt/archives/*.deb "$tree"/var/lib/apt/lists/* \
    "$tree"/usr/share/{doc,man,info,locale}/*
  # The network may put a certificate authority of its own before the package registries. Trusting what the host
  # trusts is the base's business; the product's Dockerfile must not know.
  install -D -m 0644 "$bundle" "$tree/etc/ssl/host-ca.pem"
  ca=(PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE)
  tar -C "$tree" --numeric-owner -c . |
    docker import --change "ENV ${ca[*]/%/=/etc/ssl/host-ca.pem}" --change "LABEL $label=$recipe" \
      --change 'CMD ["bash"]' - "$base_image" >/dev/null
}

build_stand_in() {  # IMAGE DOCKERFILE
  local image=$1 dockerfile=$2 recipe log
  ensure_base
  recipe="$({ cat "$here/$dockerfile"; docker image inspect --format '{{.Id}}' "$base_image"; } |
    sha256sum | cut -c1-16)"
  have_image "$image" "$recipe" && return 0
  log="$state/${dockerfile%.Dockerfile}.log"
  say "$image: building the stand-in $dockerfile"
  docker buildx build --load --label "$label=$recipe" -t "$image" -f "$here/$dockerfile" "$here" >"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; die "$dockerfile does not build; whole log in $log"; }
}

# --- plug-ins -----------------------------------------------------------------------------------------------

# Debian 12 has neither plug-in. The packages are opened inside a container: the host's apt sources stay as they are.
ensure_plugins() {
  local target="${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins" plugin
  if docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; then
    say "$(docker compose version), $(docker buildx version | awk '{print "buildx " $2}')"
    return 0
  fi
  ensure_base
  say "plug-ins: taking docker-compose and docker-buildx from $suite"
  docker run --rm -v "$scratch:/out" "$base_image" sh -ec '
    cd /tmp
    apt-get update -qq
    apt-get download -qq docker-compose docker-buildx
    for package in ./*.deb; do dpkg -x "$package" tree; done
    # Completion files and documentation share the names, hence the exact folder.
    cp tree/usr/libexec/docker/cli-plugins/docker-compose tree/usr/libexec/docker/cli-plugins/docker-buildx /out/
  ' >"$state/plugins.log" 2>&1 || { tail -n 20 "$state/plugins.log" >&2; die "the plug-ins cannot be had"; }
  for plugin in docker-compose docker-buildx; do
    install -D -m 0755 "$scratch/$plugin" "$target/$plugin"
  done
  docker compose version >/dev/null && docker buildx version >/dev/null || die "the plug-ins in $target do not run"
  say "$(docker compose version) and $(docker buildx version | awk '{print "buildx " $2}') in $target"
}

# --- which images -------------------------------------------------------------------------------------------

declare -A args=()  # the ARG defaults of the Dockerfile being read

expand() {  # TEXT: put in $NAME, ${NAME} and ${NAME:-default} from ARG, else the environment, else Compose's .env
  local text=$1 name default whole value
  while [[ $text =~ \$\{?([A-Za-z_][A-Za-z0-9_]*)(:?-([^}]*))?\}? ]]; do
    name=${BASH_REMATCH[1]} default=${BASH_REMATCH[3]} whole=${BASH_REMATCH[0]}
    value=${args[$name]:-${!name:-}}
    [[ -n $value || ! -f $repo/.env ]] || value=$(sed -n "s/^$name=//p" "$repo/.env")
    value=${value:-$default}
    text=${text/"$whole"/"$value"}
  done
  printf '%s\n' "$text"
}

compose_images() {
  local file name
  for file in "$repo"/docker-compose*.y*ml "$repo"/compose*.y*ml; do
    [[ -f $file ]] || continue
    sed -nE "s/^ +image: *[\"']?([^\"'# ]+).*/\1/p" "$file" | while read -r name; do expand "$name"; done
  done
}

dockerfile_images() {  # FILE: the images that its FROM lines start from; its own build stages are none
  local -A stages=([scratch]=1)
  local -a words
  local name
  args=()
  while read -ra words; do
    case "${words[0]^^}" in
      ARG) [[ ${words[1]} != *=* ]] || args[${words[1]%%=*}]=$(tr -d "\"'" <<<"${words[1]#*=}") ;;
      FROM)
        [[ ${words[1]} != --* ]] || words=(FROM "${words[@]:2}")
        name=$(expand "${words[1]}")
        [[ -n ${stages[$name]:-} ]] || printf '%s\n' "$name"
        [[ ${words[2]:-} != [Aa][Ss] ]] || stages[${words[3]}]=1
        ;;
    esac
  done < <(grep -iE '^(ARG|FROM) ' "$1")
}

shipped_images() {
  local file
  compose_images
  find "$repo" -path "$here" -prune -o \( -name '.?*' -o -name node_modules \) -prune -o \
    -type f \( -name 'Dockerfile*' -o -name '*.Dockerfile' \) -print |
    while read -r file; do dockerfile_images "$file"; done
}

provide() {  # IMAGE: make it available under exactly that name, where this file knows how
  local image=$1
  if [[ $image == *@sha256:* ]]; then
    image=${image%@*}
    say "$1: no stand-in can carry a digest; giving $image instead"
  fi
  case "$image" in
    prom/prometheus:* | */prom/prometheus:*) build_stand_in "$image" prometheus.Dockerfile ;;
    prom/alertmanager:* | */prom/alertmanager:*) build_stand_in "$image" alertmanager.Dockerfile ;;
    python:3.13*) build_stand_in "$image" python.Dockerfile ;;
    python:*) die "$image: $suite has Python 3.13 only, so there is no stand-in for this version" ;;
    "$base_image") ensure_base ;;
    *) say "$image: has no stand-in; left to Compose (built there, pulled there, or left out)" ;;
  esac
}

main() {
  local image images
  mkdir -p "$state"
  exec 9>"$state/lock"
  flock 9  # two test runs may start at once; the second finds everything ready
  rm -rf "$scratch"
  mkdir -p "$scratch"
  trap 'rm -rf "$scratch"' EXIT
  ensure_engine
  ensure_plugins
  mapfile -t images < <(shipped_images | sort -u)
  for image in "${fallback_images[@]}"; do
    [[ " ${images[*]}" == *" ${image%%:*}:"* ]] || images+=("$image")
  done
  for image in "${images[@]}"; do
    provide "$image"
  done
  docker image prune -f --filter "label=$label" >/dev/null  # stand-ins that newer ones replaced
  say "ready"
}

main "$@"
