//! Programs that call the API, with this deployment's URL.

use crate::components::copy_button::CopyButton;
use crate::page_context::page_context;
use domain::ModelName;
use leptos::prelude::*;

/// Shows how to call the API with curl, Python and TypeScript.
#[component]
pub fn Snippets(
    /// The model that the examples call; a placeholder if the plan has none.
    model: Option<ModelName>,
) -> impl IntoView {
    let url = page_context().site_url;
    let model = model.map_or_else(|| "MODEL".to_owned(), |model| model.0);
    let snippets = [
        ("curl", "snippet-curl", curl(&url, &model)),
        ("Python", "snippet-python", python(&url, &model)),
        ("TypeScript", "snippet-typescript", typescript(&url, &model)),
        ("Anthropic SDK", "snippet-anthropic", anthropic(&url, &model)),
    ];
    let shown = snippets.into_iter().enumerate().map(|(index, (label, id, text))| {
        view! {
            <details class="snippet" open=index == 0>
                <summary>{label}</summary>
                <figure class="code">
                    <figcaption><span>{label}</span><CopyButton of=id what="the example"/></figcaption>
                    <pre tabindex="0"><code id=id>{text}</code></pre>
                </figure>
            </details>
        }
    });
    view! {
        <section class="setting">
            <h2>"Use a key"</h2>
            <div class="stack">
                <p class="hint">"The OpenAI and Anthropic SDKs work with this address. The examples read your key from the environment variable API_KEY. "<a href="/docs/api">"All endpoints and errors"</a></p>
                {shown.collect_view()}
            </div>
        </section>
    }
}

fn curl(url: &str, model: &str) -> String {
    format!(
        "curl {url}/v1/chat/completions \\\n  -H \"Authorization: Bearer $API_KEY\" \\\n  -H \"Content-Type: application/json\" \\\n  -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
    )
}

fn python(url: &str, model: &str) -> String {
    format!(
        "import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url=\"{url}/v1\", api_key=os.environ[\"API_KEY\"])\nanswer = client.chat.completions.create(\n    model=\"{model}\",\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\nprint(answer.choices[0].message.content)"
    )
}

fn typescript(url: &str, model: &str) -> String {
    format!(
        "import OpenAI from 'openai';\n\nconst client = new OpenAI({{ baseURL: '{url}/v1', apiKey: process.env.API_KEY }});\nconst answer = await client.chat.completions.create({{\n  model: '{model}',\n  messages: [{{ role: 'user', content: 'Hello' }}],\n}});\nconsole.log(answer.choices[0].message.content);"
    )
}

fn anthropic(url: &str, model: &str) -> String {
    format!(
        "import os\nfrom anthropic import Anthropic\n\nclient = Anthropic(base_url=\"{url}\", api_key=os.environ[\"API_KEY\"])\nanswer = client.messages.create(\n    model=\"{model}\",\n    max_tokens=1024,\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\nprint(answer.content[0].text)"
    )
}
