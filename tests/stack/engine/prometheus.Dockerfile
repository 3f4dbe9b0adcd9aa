# Stand-in for the official Prometheus image: Debian's package at the official paths, user, entrypoint and command.
FROM debian:trixie-slim
# busybox gives the `wget` that health checks find in the official image.
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox prometheus \
 && rm -rf /var/lib/apt/lists/* /var/lib/prometheus \
 && ln -s /bin/busybox /usr/local/bin/wget \
 && echo 'nobody:x:65534:' >> /etc/group \
 && mkdir /prometheus \
 && chown -R 65534:65534 /etc/prometheus /prometheus \
 && chmod g+w /prometheus \
 && /bin/prometheus --version \
 && /bin/promtool --version
USER 65534:65534
WORKDIR /prometheus
EXPOSE 9090
VOLUME ["/prometheus"]
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
