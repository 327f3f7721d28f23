"""The addresses of the pages."""

from django.urls import path

from files.web import details, downloads, shared, views

app_name = "web"
urlpatterns = [
    path("", views.folder, name="root"),
    path("folders/<uuid:folder_id>", views.folder, name="folder"),
    path("details/<uuid:item_id>", details.details, name="details"),
    path("trash", views.trash_page, name="trash"),
    path("devices", views.devices_page, name="devices"),
    path("activity", views.activity, name="activity"),
    path("account", views.account, name="account"),
    path("zip", downloads.selection, name="zip"),
    path("icons.svg", views.sprite, name="icons"),
    path("s/<str:token>", shared.link, name="link"),
    path("s/<str:token>/folders/<uuid:folder_id>", shared.link_folder, name="link-folder"),
    path("s/<str:token>/zip", downloads.link, name="link-zip"),
    path("s/<str:token>/folders/<uuid:folder_id>/zip", downloads.link, name="link-folder-zip"),
    path("s/<str:token>/files/<uuid:file_id>", shared.link_file, name="link-file"),
]
