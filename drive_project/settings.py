"""All settings, read from the environment (12-factor). `docs/settings.md` is generated from here.

Nothing configured is the embedded default: SQLite, a private Redis, blocks on local disk.
There is no mode switch: what is configured decides.
"""

import secrets
import sys
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from drive_project import __version__, env, instance
from drive_project.common.redis_urls import celery_settings, channel_host

# --- Where data lives and where the server listens --------------------------------------

BASE_DIR = instance.BASE_DIR
DATA_DIR = instance.DATA_DIR
BIND_HOST, BIND_PORT = instance.BIND_HOST, instance.BIND_PORT
PUBLIC_URL = env.text(
    "PUBLIC_URL",
    shown_default="the address of each request",
    meaning="URL under which people and devices reach Drive, for links and block URLs.",
).rstrip("/")


def _secret_key() -> str:
    """The configured key, else one made once and kept in the data folder with mode 0600."""
    configured = env.text(
        "SECRET_KEY",
        shown_default="made at first start, kept in DRIVE_DATA_DIR/secret.key",
        meaning="Signs sessions, cursors and block URLs. At least 50 characters.",
    )
    if configured:
        return configured
    path = DATA_DIR / "secret.key"
    try:
        DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Created whole under another name and linked: two processes that start at once
        # must not each keep a key of their own.
        draft = DATA_DIR / f".secret.key.{secrets.token_hex(8)}"
        if not path.exists():
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(64))
            try:
                path.hardlink_to(draft)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"DRIVE_DATA_DIR {DATA_DIR} cannot be written: {error.strerror}. "
            "Choose another folder or fix its permissions."
        ) from error


SECRET_KEY = _secret_key()
DEBUG = env.boolean("DEBUG", meaning="Django's debug pages. Never on a server that others reach.")
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    f"[{BIND_HOST}]" if ":" in BIND_HOST else BIND_HOST,
    *([urlsplit(PUBLIC_URL).hostname or ""] if PUBLIC_URL else []),
    *env.texts("ALLOWED_HOSTS", meaning="Further host names that requests may carry."),
]
if BIND_HOST in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
    # Listening everywhere means that the names are not known here; PUBLIC_URL narrows it.
    ALLOWED_HOSTS = ["*"] if not PUBLIC_URL else ALLOWED_HOSTS
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
IS_TLS = PUBLIC_URL.startswith("https://")

# --- Applications -----------------------------------------------------------------------

INSTALLED_APPS = [
    "daphne",
    "drive_project",
    "files",
    "blocks",
    "notifications",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "csp",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "allauth",
    "allauth.account",
    "lucide",
]
MIDDLEWARE = [
    "drive_project.common.clock.TellTheTime",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "drive_project.urls"
WSGI_APPLICATION = "drive_project.wsgi.application"
ASGI_APPLICATION = "drive_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Databases --------------------------------------------------------------------------


# A web process has 40 threads that may need a connection, but hardly ever at once; and a
# PostgreSQL server has a hundred connections for all processes.
DATABASE_POOL_SIZE = env.integer(
    "DATABASE_POOL_SIZE",
    default=16,
    meaning="PostgreSQL connections that a process shares among its threads, for each of the "
    "two databases. 0: no pool, each thread keeps a connection of its own.",
)
_POOL = {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 10, "max_idle": 300}
# A statement or a wait that takes longer is not slow but stuck, and holds up others. Nothing
# here stays in a transaction while it waits for anybody.
PG_LIMITS = {
    "statement_timeout": "10min",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "5min",
}


def _database(url: str, sqlite_name: str) -> dict[str, Any]:
    """Django's settings for a database URL; SQLite in the data folder where none is given."""
    if not url:
        url = f"sqlite:///{quote(str(DATA_DIR / sqlite_name))}"
    parts = urlsplit(url)
    match parts.scheme:
        case "sqlite":
            name = unquote(parts.path)
            return {
                "ENGINE": "django.db.backends.sqlite3",
                # sqlite:///relative and sqlite:////absolute, as usual.
                "NAME": name[1:] if name.startswith("//") else name,
                "CONN_MAX_AGE": None,
                "OPTIONS": {
                    # A deferred transaction that reads and then writes fails at once when
                    # another writer came between; an immediate one waits its turn.
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 20,
                    # FULL: what a device was told is committed must survive a power cut.
                    "init_command": (
                        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
                        "PRAGMA foreign_keys=ON; PRAGMA cache_size=-16000;"
                    ),
                },
                # Threads cannot share the default in-memory test database.
                "TEST": {"NAME": str(DATA_DIR / f"test-{sqlite_name}")},
            }
        case "postgres" | "postgresql":
            return {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": unquote(parts.path.lstrip("/")),
                "USER": unquote(parts.username or ""),
                "PASSWORD": unquote(parts.password or ""),
                "HOST": unquote(parts.hostname or ""),
                "PORT": str(parts.port or ""),
                # Lent by the pool for a request or a task; without one a thread keeps its own.
                "CONN_MAX_AGE": 0 if DATABASE_POOL_SIZE else 60,
                "CONN_HEALTH_CHECKS": True,
                "OPTIONS": {
                    "connect_timeout": 10,
                    "options": " ".join(f"-c {name}={value}" for name, value in PG_LIMITS.items()),
                    **dict(parse_qsl(parts.query)),
                    **({"pool": _POOL} if DATABASE_POOL_SIZE else {}),
                },
            }
    raise ImproperlyConfigured(
        f"{parts.scheme!r} is no known kind of database; use postgresql://USER@HOST/NAME "
        "or sqlite:///PATH."
    )


DATABASES = {
    "default": _database(
        env.text(
            "DATABASE_URL",
            shown_default="SQLite in DRIVE_DATA_DIR/files.sqlite3",
            meaning="File metadata: users, devices, trees, versions, journal.",
        ),
        "files.sqlite3",
    ),
    "blocks": _database(
        env.text(
            "BLOCKS_DATABASE_URL",
            shown_default="SQLite in DRIVE_DATA_DIR/blocks.sqlite3",
            meaning="Block metadata: blocks, references, uploads. A database of its own.",
        ),
        "blocks.sqlite3",
    ),
}
DATABASE_ROUTERS = ["drive_project.routers.BlocksRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis: broker, channel layer, event streams, cache ----------------------------------

REDIS_URL = instance.REDIS_URL or f"unix://{instance.redis_socket()}"


# A Redis Cluster is for the event streams alone: Celery's broker does not support it.
EVENTS_REDIS_URL = (
    env.redis_url(
        "EVENTS_REDIS_URL",
        shown_default="REDIS_URL",
        meaning="Redis for the event streams alone, where it is another one. Like REDIS_URL, or "
        "redis+cluster://HOST:PORT,HOST:PORT.",
        may_be_cluster=True,
    )
    or REDIS_URL
)

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        # In a list: Django cuts a text at each comma, and a Sentinel's URL has some.
        "LOCATION": [REDIS_URL],
        "KEY_PREFIX": "drive",
        "OPTIONS": {
            "serializer": "drive_project.common.cache.JsonSerializer",
            "pool_class": "drive_project.common.redis_clients.CachePool",
        },
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [channel_host(REDIS_URL)]},
    }
}
CELERY_BROKER_URL, CELERY_BROKER_TRANSPORT_OPTIONS = celery_settings(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# --- The Notification Service as a process of its own ---------------------------------------

NOTIFICATIONS_BIND = env.bind(
    "NOTIFICATIONS_BIND",
    default="127.0.0.1:8010",
    meaning="Address on which `manage.py run_notifications` holds WebSockets and long polls.",
)

# --- Blocks and the object store ----------------------------------------------------------

S3_BUCKET = env.text(
    "S3_BUCKET",
    shown_default="none: blocks on local disk",
    meaning="Bucket of the blocks; setting it turns the S3 store on.",
)
S3_ENDPOINT = env.text("S3_ENDPOINT", meaning="S3 endpoint that the server itself reaches.")
S3_PUBLIC_ENDPOINT = env.text(
    "S3_PUBLIC_ENDPOINT",
    shown_default="S3_ENDPOINT",
    meaning="S3 endpoint that devices and browsers reach; presigned URLs carry it.",
)
S3_REGION = env.text("S3_REGION", default="us-east-1", meaning="Region of the bucket.")
S3_ACCESS_KEY_ID = env.text("S3_ACCESS_KEY_ID", meaning="Access key of the bucket.")
S3_SECRET_ACCESS_KEY = env.text("S3_SECRET_ACCESS_KEY", meaning="Secret key of the bucket.")
S3_SERVER_SIDE_ENCRYPTION = env.text(
    "S3_SERVER_SIDE_ENCRYPTION",
    shown_default="none: as the bucket is set up",
    meaning="AES256 or aws:kms: the store is told to encrypt every object, by a signed header.",
)
BLOCKS_DIR = DATA_DIR / "blocks"

BLOCK_SERVICE_ADDRESS = env.text(
    "BLOCK_SERVICE_ADDRESS",
    shown_default="none: in the process",
    meaning="HOST:PORT or unix:PATH of a Block Service that runs apart (gRPC).",
)
BLOCK_SERVICE_BIND = env.text(
    "BLOCK_SERVICE_BIND",
    default="127.0.0.1:50051",
    meaning="HOST:PORT or unix:PATH at which `manage.py run_block_service` listens.",
)
BLOCK_SERVICE_TOKEN = env.text(
    "BLOCK_SERVICE_TOKEN",
    meaning="Secret that both sides of gRPC share, at least 32 characters. "
    "Needed where BLOCK_SERVICE_BIND is more than loopback.",
)
BLOCK_SERVICE_TLS_CERT = env.text(
    "BLOCK_SERVICE_TLS_CERT",
    meaning="PEM file: own certificate for gRPC. It turns TLS on in the Block Service.",
)
BLOCK_SERVICE_TLS_KEY = env.text(
    "BLOCK_SERVICE_TLS_KEY", meaning="PEM file: key of BLOCK_SERVICE_TLS_CERT."
)
BLOCK_SERVICE_TLS_CA = env.text(
    "BLOCK_SERVICE_TLS_CA",
    meaning="PEM file: who signs the other side's certificate. It turns TLS on in the File "
    "Service; the Block Service then asks clients for a certificate (mTLS).",
)
BLOCK_SERVICE_THREADS = env.integer(
    "BLOCK_SERVICE_THREADS",
    default=16,
    minimum=2,
    meaning="Calls that a Block Service works on at once, each with a database connection.",
)
BLOCK_SERVICE_STOP_SECONDS = env.integer(
    "BLOCK_SERVICE_STOP_SECONDS",
    default=30,
    meaning="How long a Block Service that is told to stop waits for calls under way.",
)
BLOCK_SERVICE_REFLECTION = env.boolean(
    "BLOCK_SERVICE_REFLECTION",
    meaning="Whether a Block Service describes its calls to tools such as grpcurl.",
)
# A leaked URL is worth little after minutes; a slow device renews it by /urls.
UPLOAD_URL_LIFETIME = timedelta(
    seconds=env.integer(
        "UPLOAD_URL_SECONDS",
        default=900,
        minimum=1,
        meaning="Life of a presigned PUT URL.",
    )
)
DOWNLOAD_URL_LIFETIME = timedelta(
    seconds=env.integer(
        "DOWNLOAD_URL_SECONDS",
        default=300,
        minimum=1,
        meaning="Life of a presigned GET URL.",
    )
)
UPLOAD_LIFETIME = timedelta(
    seconds=env.integer(
        "UPLOAD_SECONDS",
        default=7 * 24 * 3600,
        minimum=1,
        meaning="How long an upload that was begun can be resumed.",
    )
)
# How long the blocks of a removed version are kept before the release. Safe at 0: every
# upload has its own location, and a backup holds deletion.
BLOCK_GRACE = timedelta(
    seconds=env.integer(
        "BLOCK_GRACE_SECONDS",
        default=24 * 3600,
        meaning="How long blocks of a removed version are kept before they may be collected.",
    )
)
SCRUB_INTERVAL = timedelta(
    days=env.integer(
        "SCRUB_DAYS",
        default=30,
        meaning="Every stored object is read again, and checked, after so many days.",
    )
)
# At the default a day's run reads up to 60 GB in 50 minutes, 1.8 TB in 30 days.
SCRUB_BYTES_PER_SECOND = env.integer(
    "SCRUB_BYTES_PER_SECOND",
    default=20_000_000,
    minimum=1,
    meaning="How fast the daily check of stored objects reads.",
)
# 100 bytes of headers and less than 2 KB of memory each while somebody downloads.
ZIP_MAX_ENTRIES = env.integer(
    "ZIP_MAX_ENTRIES",
    default=50_000,
    minimum=1,
    meaning="Files and folders that one download as a ZIP may have at most.",
)
TRASH_RETENTION = timedelta(
    days=env.integer("TRASH_DAYS", default=30, meaning="Days until trashed items are deleted.")
)
# What a new account has; each person may choose otherwise (files.retention has the bounds).
KEEP_ALL_VERSIONS_DAYS = env.integer(
    "KEEP_ALL_VERSIONS_DAYS",
    default=30,
    minimum=1,
    meaning="Days for which every replaced version of a file is kept.",
)
KEEP_DAILY_VERSIONS_DAYS = env.integer(
    "KEEP_DAILY_VERSIONS_DAYS",
    default=365,
    meaning="Days for which one version of each day is kept.",
)
DEFAULT_QUOTA_BYTES = env.optional_integer(
    "DEFAULT_QUOTA_BYTES",
    shown_default="no limit",
    meaning="Quota of a new user, in bytes.",
)

# --- Accounts ---------------------------------------------------------------------------

AUTH_USER_MODEL = "files.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "files.web.accounts.AccountAdapter"
ACCOUNT_LOGOUT_ON_GET = False
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_TLS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# The browser puts blocks straight to the store, which S3 has at an origin of its own.
# Where the Block Service runs apart, S3_PUBLIC_ENDPOINT is all that is known of it here.
_store_origin = (
    [S3_PUBLIC_ENDPOINT or S3_ENDPOINT]
    if S3_BUCKET or (BLOCK_SERVICE_ADDRESS and S3_PUBLIC_ENDPOINT)
    else []
)
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/admin/"],
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "worker-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", *_store_origin],
        "media-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF, *_store_origin],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    },
}

# --- API ----------------------------------------------------------------------------------

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["files.api.authentication.DeviceAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["drive_project.common.rendering.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["drive_project.common.parsing.JsonParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "drive_project.common.problem.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Drive API",
    "VERSION": __version__,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    # A conflict calls it `kind`, who tells of one `conflict_kind`.
    "ENUM_NAME_OVERRIDES": {"ConflictKindEnum": "files.models.ConflictKind"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "drive_project.openapi.add_long_poll",
    ],
}
# Below this a request body is parsed in memory; longer JSON is refused (413).
MAX_JSON_BYTES = 4 * 1024 * 1024
MAX_JSON_DEPTH = 32
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_JSON_BYTES

# --- The rest -----------------------------------------------------------------------------

LANGUAGE_CODE = "en"
# Those that the pages are translated into. Django and allauth know more, which would mix.
LANGUAGES = [("en", "English")]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = (
    env.text(
        "STATIC_ROOT",
        shown_default="none: served straight from the packages",
        meaning="Folder that `manage.py collectstatic` fills and web serves from.",
    )
    or None
)
# Nothing to collect on the embedded default: the finders know where each file is.
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "plain",
            "stream": sys.stderr,
        },
    },
    "root": {
        "handlers": ["stderr"],
        "level": env.text(
            "LOG_LEVEL", default="INFO", meaning="Least severe level that is logged."
        ),
    },
    "loggers": {
        # These log request lines, some at DEBUG only; block URLs in them are secrets.
        "django.request": {"level": "ERROR"},
        "daphne": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "urllib3": {"level": "INFO"},
        "botocore": {"level": "INFO"},
    },
}
