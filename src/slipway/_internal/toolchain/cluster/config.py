"""Configuration files and arguments of the node's components. Nothing is written here."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from slipway._internal.toolchain.cluster import layout as at
from slipway._internal.toolchain.cluster.layout import NodeLayout

API_URL = f"https://{at.NODE_ADDRESS}:{at.API_PORT}"
EVICTION_THRESHOLDS = {
    "memory.available": "100Mi",
    "nodefs.available": "2%",
    "nodefs.inodesFree": "1%",
    "imagefs.available": "2%",
}


def containerd_config(home: Path, plugins: Path, sandbox: str) -> str:
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
state = "{at.RUNTIME_FOLDER / "containerd"}"

[grpc]
  address = "{at.RUNTIME_FOLDER / "containerd.sock"}"

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


def cni_config(home: Path) -> str:
    """Return the CNI configuration list: pods on the bridge, and the bridge's address as their way out."""
    bridge = {
        "type": "bridge",
        "bridge": at.BRIDGE_NAME,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": at.POD_CIDR, "gateway": at.NODE_ADDRESS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(home / "addresses"),
        },
    }
    return _to_json({"cniVersion": "1.0.0", "name": "slipway", "plugins": [bridge]})


def etcd_arguments(layout: NodeLayout) -> list[str]:
    """Return etcd's arguments."""
    client, peer = f"https://127.0.0.1:{at.ETCD_PORT}", f"https://127.0.0.1:{at.ETCD_PEER_PORT}"
    keys = layout.certificates
    return [
        f"--data-dir={layout.component_folder('etcd') / 'data'}",
        "--name=slipway",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=slipway={peer}",
        f"--listen-metrics-urls=http://127.0.0.1:{at.ETCD_HEALTH_PORT}",
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


def api_server_arguments(layout: NodeLayout) -> list[str]:
    """Return the API server's arguments: TLS and client certificates only, RBAC on."""
    keys = layout.certificates
    return [
        f"--bind-address={at.NODE_ADDRESS}",
        f"--advertise-address={at.NODE_ADDRESS}",
        f"--secure-port={at.API_PORT}",
        f"--etcd-servers=https://127.0.0.1:{at.ETCD_PORT}",
        f"--etcd-cafile={keys / 'ca.crt'}",
        f"--etcd-certfile={keys / 'etcd-client.crt'}",
        f"--etcd-keyfile={keys / 'etcd-client.key'}",
        f"--client-ca-file={keys / 'ca.crt'}",
        f"--tls-cert-file={keys / 'apiserver.crt'}",
        f"--tls-private-key-file={keys / 'apiserver.key'}",
        f"--cert-dir={layout.component_folder('kube-apiserver')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={at.SERVICE_CIDR}",
        f"--service-account-issuer=https://kubernetes.default.svc.{at.CLUSTER_DOMAIN}",
        f"--service-account-key-file={keys / 'accounts.pub'}",
        f"--service-account-signing-key-file={keys / 'accounts.key'}",
        f"--kubelet-certificate-authority={keys / 'ca.crt'}",
        f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
        f"--kubelet-client-key={keys / 'kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged=true",
    ]


def controller_manager_arguments(layout: NodeLayout) -> list[str]:
    """Return the controller manager's arguments."""
    keys = layout.certificates
    return [
        *_kubeconfig_arguments(layout, "kube-controller-manager"),
        f"--secure-port={at.CONTROLLER_MANAGER_PORT}",
        "--use-service-account-credentials",
        f"--root-ca-file={keys / 'ca.crt'}",
        f"--service-account-private-key-file={keys / 'accounts.key'}",
        f"--cluster-signing-cert-file={keys / 'ca.crt'}",
        f"--cluster-signing-key-file={keys / 'ca.key'}",
    ]


def scheduler_arguments(layout: NodeLayout) -> list[str]:
    """Return the scheduler's arguments."""
    return [*_kubeconfig_arguments(layout, "kube-scheduler"), f"--secure-port={at.SCHEDULER_PORT}"]


def kubelet_arguments(layout: NodeLayout) -> list[str]:
    """Return the kubelet's arguments; the rest is in its file."""
    home = layout.component_folder("kubelet")
    return [
        f"--config={home / 'config.json'}",
        f"--kubeconfig={home / 'kubeconfig'}",
        f"--root-dir={home / 'root'}",
        f"--cert-dir={home}",
        f"--hostname-override={at.NODE_NAME}",
        f"--node-ip={at.NODE_ADDRESS}",
    ]


def kubelet_config(layout: NodeLayout) -> str:
    """Return the kubelet's configuration file."""
    home, keys = layout.component_folder("kubelet"), layout.certificates
    return _to_json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": at.NODE_ADDRESS,
            "port": at.KUBELET_PORT,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": at.KUBELET_HEALTH_PORT,
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
            "clusterDomain": at.CLUSTER_DOMAIN,
            "clusterDNS": [at.NODE_ADDRESS],
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "serializeImagePulls": False,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": EVICTION_THRESHOLDS,
        }
    )


def kube_proxy_config(layout: NodeLayout) -> str:
    """Return kube-proxy's configuration file: iptables, and no setting of the kernel changed."""
    return _to_json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(layout.component_folder("kube-proxy") / "kubeconfig")},
            "clusterCIDR": at.POD_CIDR,
            "hostnameOverride": at.NODE_NAME,
            "healthzBindAddress": f"127.0.0.1:{at.PROXY_HEALTH_PORT}",
            "metricsBindAddress": f"127.0.0.1:{at.PROXY_METRICS_PORT}",
            "nodePortAddresses": [f"{at.NODE_ADDRESS}/32"],
            "iptables": {"localhostNodePorts": False},
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "oomScoreAdj": 0,
        }
    )


def corefile(layout: NodeLayout, forward: bool) -> str:
    """Return CoreDNS's configuration; `forward`: names outside the cluster go to this machine's resolver."""
    others = "    forward . /etc/resolv.conf\n" if forward else ""
    return f"""\
.:53 {{
    bind {at.NODE_ADDRESS}
    errors
    health 127.0.0.1:{at.DNS_HEALTH_PORT}
    kubernetes {at.CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {layout.component_folder("coredns") / "kubeconfig"}
        pods insecure
    }}
{others}    cache 10
}}
"""


def kubeconfig(layout: NodeLayout, user: str, *, inline: bool = False) -> str:
    """Return a kubeconfig of one user; `inline` puts keys in instead of paths, so that the file can be carried."""
    authority = layout.certificates / "ca.crt"
    certificate, key = layout.certificates / f"{user}.crt", layout.certificates / f"{user}.key"
    return _to_json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "slipway",
            "contexts": [{"name": "slipway", "context": {"cluster": "slipway", "user": user}}],
            "clusters": [
                {
                    "name": "slipway",
                    "cluster": {"server": API_URL, **_file_or_data("certificate-authority", authority, inline)},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        **_file_or_data("client-certificate", certificate, inline),
                        **_file_or_data("client-key", key, inline),
                    },
                }
            ],
        }
    )


def dns_role_objects() -> list[dict[str, Any]]:
    """Return what lets CoreDNS read the cluster's Services."""
    metadata = {"name": "system:coredns"}
    api = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return [
        {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", **metadata},
            "subjects": [{"apiGroup": api, "kind": "User", **metadata}],
        },
    ]


def _kubeconfig_arguments(layout: NodeLayout, part: str) -> list[str]:
    own = layout.component_folder(part) / "kubeconfig"
    return [
        f"--kubeconfig={own}",
        f"--authentication-kubeconfig={own}",
        f"--authorization-kubeconfig={own}",
        f"--cert-dir={layout.component_folder(part)}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _file_or_data(name: str, file: Path, inline: bool) -> dict[str, str]:
    if not inline:
        return {name: str(file)}
    return {f"{name}-data": b64encode(file.read_bytes()).decode("ascii")}


def _to_json(document: Any) -> str:
    return json.dumps(document, indent=1) + "\n"
