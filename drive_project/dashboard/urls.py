"""The addresses of the staff pages."""

from django.urls import path

from drive_project.dashboard import views

app_name = "dashboard"
urlpatterns = [path("", views.dashboard, name="dashboard")]
