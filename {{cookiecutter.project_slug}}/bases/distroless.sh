#!/bin/sh
# Unpacks Debian packages into an empty root: their files, and nothing that could install or start anything else.
#
#   distroless.sh ROOT PACKAGE...
#
# No install script runs, no dependency is added: what is in the image is what stands on the command line. Each
# package's record goes to var/lib/dpkg/status.d, where scanners look for it. Runs as root in a Debian image, with
# apt.conf and today's package lists.
set -eu
root=$1
shift

apt-get install --yes --no-install-recommends ca-certificates >/dev/null

mkdir -p /tmp/debs "$root/var/lib/dpkg/status.d"
cd /tmp/debs
apt-get download "$@"
for deb in *.deb; do
    name=$(dpkg-deb --field "$deb" Package)
    dpkg-deb --extract "$deb" "$root"
    dpkg-deb --field "$deb" >"$root/var/lib/dpkg/status.d/$name"
    dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./md5sums >"$root/var/lib/dpkg/status.d/$name.md5sums"
done

# Licences stay; manuals, change logs and the like do not.
find "$root/usr/share/doc" -not -type d -not -name copyright -delete
find "$root/usr/share/doc" -type d -empty -delete
for folder in bash-completion bug doc-base info lintian man; do
    rm -rf "$root/usr/share/$folder"
done

# Certificates: the bundle, and the places where OpenSSL looks for it and for its settings.
mkdir -p "$root/etc/ssl/certs" "$root/usr/lib/ssl"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp /etc/ssl/openssl.cnf "$root/etc/ssl/"
ln -sf /etc/ssl/certs "$root/usr/lib/ssl/certs"
ln -sf /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"
ln -sf /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"

# One user that owns nothing but its home.
cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
PASSWD
cat >"$root/etc/group" <<'GROUP'
root:x:0:
nogroup:x:65534:
nonroot:x:65532:
GROUP
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
mkdir -p "$root/home/nonroot" "$root/app" "$root/run" "$root/tmp"
chown 65532:65532 "$root/home/nonroot"
chmod 0755 "$root" "$root/app"
chmod 1777 "$root/tmp"

# A shell or a package manager in here would be a mistake in the list of packages.
for program in sh bash dash busybox apt apt-get dpkg; do
    for folder in bin sbin usr/bin usr/sbin; do
        if [ -e "$root/$folder/$program" ]; then
            echo "$folder/$program must not be in a run image" >&2
            exit 1
        fi
    done
done
