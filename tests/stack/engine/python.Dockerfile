# Stand-in for python:3.13-slim: Debian's Python 3.13 under the names and the rules of the official image.
FROM debian:trixie-slim
# The official image lets pip install outside a virtual environment; Debian's marker against that goes.
RUN apt-get update \
 && apt-get install -y --no-install-recommends netbase python3 python3-pip python3-venv tzdata \
 && rm -rf /var/lib/apt/lists/* /usr/lib/python3.13/EXTERNALLY-MANAGED \
 && ln -s /usr/bin/python3.13 /usr/local/bin/python3.13 \
 && ln -s python3.13 /usr/local/bin/python3 \
 && ln -s python3.13 /usr/local/bin/python \
 && ln -s /usr/bin/pip /usr/local/bin/pip3 \
 && ln -s pip3 /usr/local/bin/pip \
 && python --version \
 && pip --version
CMD ["python3"]
