# Stand-in for the official Alertmanager image: Debian's package at the official paths, user, entrypoint and command.
FROM debian:trixie-slim
# busybox gives the `wget` that health checks find in the official image.
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox prometheus-alertmanager \
 && rm -rf /var/lib/apt/lists/* /var/lib/prometheus \
 && ln -s /bin/busybox /usr/local/bin/wget \
 && ln -s /usr/bin/prometheus-alertmanager /bin/alertmanager \
 && mkdir -p /etc/alertmanager /alertmanager \
 && cp /etc/prometheus/alertmanager.yml /etc/alertmanager/ \
 && echo 'nobody:x:65534:' >> /etc/group \
 && chown -R 65534:65534 /etc/alertmanager /alertmanager \
 && chmod g+w /alertmanager \
 && /bin/alertmanager --version \
 && /bin/amtool --version
USER 65534:65534
WORKDIR /alertmanager
EXPOSE 9093
VOLUME ["/alertmanager"]
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
