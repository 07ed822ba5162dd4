"""What each part of the node is told: configuration files and arguments. Nothing is written here."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from slipway.toolchain.cluster import layout as at
from slipway.toolchain.cluster.layout import Layout

API = f"https://{at.GATEWAY}:{at.API_PORT}"
EVICTION = {"memory.available": "100Mi", "nodefs.available": "2%", "nodefs.inodesFree": "1%", "imagefs.available": "2%"}


def containerd(home: Path, plugins: Path, sandbox: str) -> str:
    """Return containerd's configuration.

    Args:
        home: containerd's folder, for images and containers.
        plugins: the folder of the CNI plugins.
        sandbox: the image that holds a pod's namespaces.
    """
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2
root = "{home / "root"}"
state = "{at.RUN / "containerd"}"

[grpc]
  address = "{at.RUN / "containerd.sock"}"

[{cri}]
  sandbox_image = "{sandbox}"
  # In a container a process may not lower its oom_score_adj, and need not here.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

[{cri}.cni]
  bin_dir = "{plugins}"
  conf_dir = "{home / "cni"}"

[{cri}.registry]
  config_path = "{home / "registries"}"

[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
"""


def network(home: Path) -> str:
    """Return the CNI configuration list: pods on the bridge, and the bridge's address as their way out."""
    bridge = {
        "type": "bridge",
        "bridge": at.BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": at.PODS, "gateway": at.GATEWAY}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(home / "addresses"),
        },
    }
    return _json({"cniVersion": "1.0.0", "name": "slipway", "plugins": [bridge]})


def etcd(layout: Layout) -> list[str]:
    """Return etcd's arguments."""
    client, peer = f"https://127.0.0.1:{at.ETCD}", f"https://127.0.0.1:{at.ETCD_PEERS}"
    keys = layout.certificates
    return [
        f"--data-dir={layout.part('etcd') / 'data'}",
        "--name=slipway",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=slipway={peer}",
        f"--listen-metrics-urls=http://127.0.0.1:{at.ETCD_HEALTH}",
        "--client-cert-auth",
        f"--trusted-ca-file={keys / 'ca.crt'}",
        f"--cert-file={keys / 'etcd.crt'}",
        f"--key-file={keys / 'etcd.key'}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={keys / 'ca.crt'}",
        f"--peer-cert-file={keys / 'etcd.crt'}",
        f"--peer-key-file={keys / 'etcd.key'}",
        # What a machine's crash would lose of a cluster for trying things is not worth a sync for each write.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(layout: Layout) -> list[str]:
    """Return the API server's arguments: TLS and client certificates only, RBAC on."""
    keys = layout.certificates
    return [
        f"--bind-address={at.GATEWAY}",
        f"--advertise-address={at.GATEWAY}",
        f"--secure-port={at.API_PORT}",
        f"--etcd-servers=https://127.0.0.1:{at.ETCD}",
        f"--etcd-cafile={keys / 'ca.crt'}",
        f"--etcd-certfile={keys / 'etcd-client.crt'}",
        f"--etcd-keyfile={keys / 'etcd-client.key'}",
        f"--client-ca-file={keys / 'ca.crt'}",
        f"--tls-cert-file={keys / 'apiserver.crt'}",
        f"--tls-private-key-file={keys / 'apiserver.key'}",
        f"--cert-dir={layout.part('kube-apiserver')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={at.SERVICES}",
        f"--service-account-issuer=https://kubernetes.default.svc.{at.DOMAIN}",
        f"--service-account-key-file={keys / 'accounts.pub'}",
        f"--service-account-signing-key-file={keys / 'accounts.key'}",
        f"--kubelet-certificate-authority={keys / 'ca.crt'}",
        f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
        f"--kubelet-client-key={keys / 'kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged=true",
    ]


def controller_manager(layout: Layout) -> list[str]:
    """Return the controller manager's arguments."""
    keys = layout.certificates
    return [
        *_with_kubeconfig(layout, "kube-controller-manager"),
        f"--secure-port={at.MANAGER}",
        "--use-service-account-credentials",
        f"--root-ca-file={keys / 'ca.crt'}",
        f"--service-account-private-key-file={keys / 'accounts.key'}",
        f"--cluster-signing-cert-file={keys / 'ca.crt'}",
        f"--cluster-signing-key-file={keys / 'ca.key'}",
    ]


def scheduler(layout: Layout) -> list[str]:
    """Return the scheduler's arguments."""
    return [*_with_kubeconfig(layout, "kube-scheduler"), f"--secure-port={at.SCHEDULER}"]


def kubelet(layout: Layout) -> list[str]:
    """Return the kubelet's arguments; the rest is in its file."""
    home = layout.part("kubelet")
    return [
        f"--config={home / 'config.json'}",
        f"--kubeconfig={home / 'kubeconfig'}",
        f"--root-dir={home / 'root'}",
        f"--cert-dir={home}",
        f"--hostname-override={at.NODE}",
        f"--node-ip={at.GATEWAY}",
    ]


def kubelet_file(layout: Layout) -> str:
    """Return the kubelet's configuration file."""
    home, keys = layout.part("kubelet"), layout.certificates
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": at.GATEWAY,
            "port": at.KUBELET_PORT,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": at.KUBELET_HEALTH,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(keys / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(keys / "kubelet.crt"),
            "tlsPrivateKeyFile": str(keys / "kubelet.key"),
            "containerRuntimeEndpoint": f"unix://{layout.socket}",
            "podLogsDir": str(home / "pods"),
            "volumePluginDir": str(home / "plugins"),
            "clusterDomain": at.DOMAIN,
            "clusterDNS": [at.GATEWAY],
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "serializeImagePulls": False,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": EVICTION,
        }
    )


def proxy_file(layout: Layout) -> str:
    """Return kube-proxy's configuration file: iptables, and no setting of the kernel changed."""
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(layout.part("kube-proxy") / "kubeconfig")},
            "clusterCIDR": at.PODS,
            "hostnameOverride": at.NODE,
            "healthzBindAddress": f"127.0.0.1:{at.PROXY_HEALTH}",
            "metricsBindAddress": f"127.0.0.1:{at.PROXY_METRICS}",
            "nodePortAddresses": [f"{at.GATEWAY}/32"],
            "iptables": {"localhostNodePorts": False},
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "oomScoreAdj": 0,
        }
    )


def corefile(layout: Layout, forward: bool) -> str:
    """Return CoreDNS's configuration; `forward`: names outside the cluster go to this machine's resolver."""
    others = "    forward . /etc/resolv.conf\n" if forward else ""
    return f"""\
.:53 {{
    bind {at.GATEWAY}
    errors
    health 127.0.0.1:{at.DNS_HEALTH}
    kubernetes {at.DOMAIN} in-addr.arpa {{
        kubeconfig {layout.part("coredns") / "kubeconfig"}
        pods insecure
    }}
{others}    cache 10
}}
"""


def kubeconfig(layout: Layout, user: str, *, inline: bool = False) -> str:
    """Return a kubeconfig of one user; `inline` puts keys in instead of paths, so that the file can be carried."""
    authority = layout.certificates / "ca.crt"
    certificate, key = layout.certificates / f"{user}.crt", layout.certificates / f"{user}.key"
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "slipway",
            "contexts": [{"name": "slipway", "context": {"cluster": "slipway", "user": user}}],
            "clusters": [
                {"name": "slipway", "cluster": {"server": API, **_given("certificate-authority", authority, inline)}}
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        **_given("client-certificate", certificate, inline),
                        **_given("client-key", key, inline),
                    },
                }
            ],
        }
    )


def dns_role() -> list[dict[str, Any]]:
    """Return what lets CoreDNS read the cluster's Services."""
    named = {"name": "system:coredns"}
    api = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return [
        {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": named, "rules": rules},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": named,
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", **named},
            "subjects": [{"apiGroup": api, "kind": "User", **named}],
        },
    ]


def _with_kubeconfig(layout: Layout, part: str) -> list[str]:
    own = layout.part(part) / "kubeconfig"
    return [
        f"--kubeconfig={own}",
        f"--authentication-kubeconfig={own}",
        f"--authorization-kubeconfig={own}",
        f"--cert-dir={layout.part(part)}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _given(name: str, file: Path, inline: bool) -> dict[str, str]:
    if not inline:
        return {name: str(file)}
    return {f"{name}-data": b64encode(file.read_bytes()).decode("ascii")}


def _json(document: Any) -> str:
    return json.dumps(document, indent=1) + "\n"
