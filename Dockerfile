# docker build -t bridge . && docker run -p 5000:5000 -e ANTHROPIC_API_KEY -v bridge-data:/data bridge
# With single sign-on for the console (docs/sso.md): docker build --build-arg REQUIREMENTS=requirements-oidc.txt -t bridge .
FROM python:3.11-slim AS build
WORKDIR /app
ARG REQUIREMENTS=requirements.txt
COPY requirements.txt requirements-oidc.txt ./
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --disable-pip-version-check -r "$REQUIREMENTS"

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data bridge && install -d -o bridge -g bridge -m 0700 /data
COPY --from=build /venv /venv
WORKDIR /app
COPY manage.py LICENSE ./
COPY proxysite proxysite
COPY bridge bridge
COPY tenants tenants
RUN /venv/bin/python -m compileall -q proxysite bridge tenants
USER bridge
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DATA_DIR=/data HOST=0.0.0.0 PORT=5000
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=2)"]
CMD ["python", "manage.py", "serve"]
