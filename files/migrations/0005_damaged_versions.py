from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("files", "0004_purged_upload"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="fileversion",
            index=models.Index(
                condition=models.Q(("is_damaged", True)),
                fields=["file_version_id"],
                name="files_version_damaged",
            ),
        ),
    ]
