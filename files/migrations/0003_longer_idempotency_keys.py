from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("files", "0002_version_retention"),
    ]

    operations = [
        migrations.AlterField(
            model_name="idempotencyrecord",
            name="key",
            field=models.CharField(max_length=104),
        ),
    ]
