"""All routes of pages and API. asgi.py routes the WebSocket, the long poll and block bytes."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from drive_project import health, setup_page
from drive_project.common import problem

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("api/version", health.version),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/v1/", include("files.api.urls")),
    path("problems/<slug:code>", problem.problem_page, name="problem"),
    path("accounts/", include("allauth.urls")),
    path("setup/<str:code>", setup_page.setup, name="setup"),
    path("dashboard/", include("drive_project.dashboard.urls")),
    path("admin/", admin.site.urls),
    path("", include("files.web.urls")),
]

handler400 = problem.bad_request
handler403 = problem.permission_denied
handler404 = problem.page_not_found
handler500 = problem.server_error
