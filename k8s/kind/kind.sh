#!/usr/bin/env bash
# A Kubernetes cluster on this machine with Kubeflow Pipelines, MinIO and textgate: kind.sh up | test | down.
# Needs 4 cores, 12 GB of memory, and internet access for images, Kubeflow's manifests and the quickstart's data.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/../.."

readonly COMMAND=${1-} CLUSTER=textgate NAMESPACE=kubeflow
readonly KFP="github.com/kubeflow/pipelines/manifests/kustomize" KFP_VERSION=2.17.0
[[ $(<components/version.py) =~ __version__\ =\ \"([^\"]+)\" ]]
readonly IMAGES=("textgate/pipeline:${BASH_REMATCH[1]}" "textgate/serving:${BASH_REMATCH[1]}")
readonly TEXTGATE=.venv/bin/textgate

stop() {
  echo "make kind-$COMMAND: $1" >&2
  exit 1
}

need() { # PROGRAM WHERE-TO-GET-IT
  command -v "$1" >/dev/null || stop "it needs $1, which is not on the PATH ($2)"
}

k() {
  kubectl --context "kind-$CLUSTER" --namespace "$NAMESPACE" "$@"
}

need_engine() {
  need docker "docs.docker.com/engine/install"
  need kind "kind.sigs.k8s.io, 0.33.0 or newer"
  docker info >/dev/null 2>&1 || stop "docker is installed, but its engine does not answer: start it"
}

exists() {
  local clusters
  clusters=$(kind get clusters 2>/dev/null)
  [[ $'\n'$clusters$'\n' == *$'\n'$CLUSTER$'\n'* ]]
}

up() {
  need_engine
  need kubectl "kubernetes.io/docs/tasks/tools"
  need git "kubectl fetches Kubeflow's manifests with it"
  for image in "${IMAGES[@]}"; do
    docker image inspect "$image" >/dev/null 2>&1 || stop "there is no image $image: make image-$(name "$image")"
  done

  exists || kind create cluster --name "$CLUSTER" --config k8s/kind/cluster.yaml --wait 180s
  kind load docker-image --name "$CLUSTER" "${IMAGES[@]}"

  k apply -k "$KFP/cluster-scoped-resources?ref=$KFP_VERSION"
  k wait --for=condition=established --timeout=120s crd/applications.app.k8s.io
  k apply -k "$KFP/env/platform-agnostic?ref=$KFP_VERSION"

  # Keep existing keys: MinIO accepts only those that it was first started with.
  k get secret textgate-s3 >/dev/null 2>&1 ||
    k create secret generic textgate-s3 --from-env-file=<(
      printf 'AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n' "$(random 10)" "$(random 20)"
    )
  k apply -k k8s/overlays/kind

  k rollout status deployment/textgate-minio --timeout=300s
  # shellcheck disable=SC2016 # the pod expands the variables
  k exec deployment/textgate-minio -- sh -c \
    'mc alias set --quiet store http://127.0.0.1:9000 "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" && mc mb --ignore-existing "store/$1"' \
    sh "$(setting TEXTGATE_BUCKET)"
  k wait --for=condition=available --timeout=900s deployment/ml-pipeline deployment/workflow-controller
  echo "the cluster is up; the endpoint answers once there is a model: make kind-test"
}

name() { # REPOSITORY/NAME:TAG
  local tagged=${1#*/}
  echo "${tagged%:*}"
}

random() { # BYTES, as hexadecimal digits
  head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'
}

try() {
  need_engine
  need kubectl "kubernetes.io/docs/tasks/tools"
  need curl "to send a request to the endpoint"
  [ -x "$TEXTGATE" ] || stop "textgate is not installed here: make install"
  exists || stop "there is no cluster $CLUSTER: make kind-up"

  trap 'kill $(jobs -p) 2>/dev/null' EXIT
  forward ml-pipeline 18888:8888 http://127.0.0.1:18888/apis/v2beta1/healthz
  forward textgate-minio 19000:9000 http://127.0.0.1:19000/minio/health/live

  export AWS_ENDPOINT_URL_S3=http://127.0.0.1:19000 AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY TEXTGATE_BUCKET
  TEXTGATE_BUCKET=$(setting TEXTGATE_BUCKET)
  AWS_ACCESS_KEY_ID=$(secret AWS_ACCESS_KEY_ID)
  AWS_SECRET_ACCESS_KEY=$(secret AWS_SECRET_ACCESS_KEY)
  "$TEXTGATE" submit quickstart --endpoint http://127.0.0.1:18888 --wait --fail-on-reject

  # keys new prints the key on standard error, and the line for the server's secret on standard output.
  keys=$(mktemp)
  key=$("$TEXTGATE" keys new kind 2>&1 >"$keys")
  k create secret generic textgate-keys --from-file=keys.txt="$keys" --dry-run=client -o yaml | k apply -f -
  rm "$keys"
  k rollout restart deployment/textgate-serving
  k rollout status deployment/textgate-serving --timeout=600s
  forward textgate-serving 18080:8080 http://127.0.0.1:18080/v2/health/ready
  answer=$(curl -fsS http://127.0.0.1:18080/v1/models/quickstart:classify -H "Authorization: Bearer ${key##* }" \
    -H 'Content-Type: application/json' -d '{"texts": ["a moving, beautifully acted film"]}')
  echo "$answer"
  [[ $answer =~ \"label\":\ ?\"positive\" ]] || stop "the endpoint did not predict that the film is good: $answer"

  # The champion was trained on the current source, so there is no reason to retrain.
  job=textgate-retrain-$(date +%s)
  k create job --from=cronjob/textgate-retrain "$job"
  k wait --for=condition=complete --timeout=900s "job/$job"
  output=$(k logs "job/$job")
  [[ $output == *"nothing to do"* ]] || stop "the CronJob found something to do: $output"
  echo "passed: the quickstart was promoted, the endpoint answers, and the CronJob has nothing to do"
}

forward() { # SERVICE PORTS URL-TO-WAIT-FOR
  k port-forward "service/$1" "$2" >/dev/null &
  curl -fsS --retry 60 --retry-delay 1 --retry-all-errors -o /dev/null "$3" 2>/dev/null || stop "$1 does not answer"
}

setting() { # KEY
  k get configmap textgate -o "jsonpath={.data.$1}"
}

secret() { # KEY
  k get secret textgate-s3 -o "jsonpath={.data.$1}" | base64 -d
}

down() {
  need_engine
  kind delete cluster --name "$CLUSTER"
}

case $COMMAND in
up) up ;;
test) try ;;
down) down ;;
*)
  echo "usage: kind.sh up | test | down" >&2
  exit 2
  ;;
esac
