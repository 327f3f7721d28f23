"""The addresses of the pages."""

from django.urls import path

from files.web import details, downloads, previews, shared, versions, views

app_name = "web"
urlpatterns = [
    path("", views.folder, name="root"),
    path("folders/<uuid:folder_id>", views.folder, name="folder"),
    path("details/<uuid:item_id>", details.details, name="details"),
    path("files/<uuid:file_id>", previews.own_page, name="file"),
    path("files/<uuid:file_id>/inline", previews.own_bytes, name="file-inline"),
    path("files/<uuid:file_id>/pages/<int:number>.png", previews.own_pdf_page, name="file-page"),
    path("files/<uuid:file_id>/versions", versions.page, name="versions"),
    path("files/<uuid:file_id>/compare", versions.compare, name="compare"),
    path(
        "files/<uuid:file_id>/versions/<uuid:version_id>/restore",
        versions.restore,
        name="restore-version",
    ),
    path(
        "files/<uuid:file_id>/versions/<uuid:version_id>/keep", versions.keep, name="keep-version"
    ),
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
    path("s/<str:token>/files/<uuid:file_id>/view", previews.link_page, name="link-view"),
    path("s/<str:token>/files/<uuid:file_id>/inline", previews.link_bytes, name="link-inline"),
    path(
        "s/<str:token>/files/<uuid:file_id>/pages/<int:number>.png",
        previews.link_pdf_page,
        name="link-page",
    ),
]
