//! Every method of the services, by name.

use stepwire::Connection;

use crate::calls::{Call, both_stream, client_stream, server_stream, unary};
use crate::methods::health::health_client::HealthClient;

mod health {
    tonic::include_proto!("grpc.health.v1");
}

macro_rules! methods {
    ($call:ident $($client:expr, $service:literal {
        $($method:literal => $kind:ident $function:ident,)*
    })*) => {
        match $call.method.as_str() {
            $($(concat!($service, "/", $method) => {
                let mut client = $client;
                $kind($call, move |request| async move { client.$function(request).await }).await
            })*)*
            _ => {
                $call.refuse();
                Ok(())
            }
        }
    };
}

/// Makes a call and says what came of it.
///
/// # Panics
/// If the command makes no sense, which is a mistake of the runner.
pub async fn make(stepwire: &Connection, call: Call) {
    let made = methods! { call
        stepwire.chat(), "stepwire.v1.ChatService" {
            "StreamChat" => server_stream stream_chat,
            "Chat" => unary chat,
            "Converse" => both_stream converse,
            "CountTokens" => unary count_tokens,
            "ListModels" => unary list_models,
            "GetModel" => unary get_model,
        }
        stepwire.embed(), "stepwire.v1.EmbedService" {
            "ListEmbeddingModels" => unary list_embedding_models,
            "GetEmbeddingModel" => unary get_embedding_model,
            "Embed" => unary embed,
            "StreamEmbeddings" => server_stream stream_embeddings,
            "Search" => unary search,
        }
        stepwire.conversations(), "stepwire.v1.ConversationService" {
            "CreateConversation" => unary create_conversation,
            "GetConversation" => unary get_conversation,
            "AppendMessages" => unary append_messages,
            "StreamMessages" => server_stream stream_messages,
            "RenderConversation" => unary render_conversation,
            "ListConversations" => unary list_conversations,
            "UpdateConversation" => unary update_conversation,
            "DeleteConversation" => unary delete_conversation,
            "ForkConversation" => unary fork_conversation,
            "GetMessage" => unary get_message,
            "UpdateMessage" => unary update_message,
            "UploadImage" => client_stream upload_image,
            "DownloadImage" => server_stream download_image,
            "SearchMessages" => unary search_messages,
            "ExportConversation" => server_stream export_conversation,
            "ImportConversation" => client_stream import_conversation,
            "WatchConversation" => server_stream watch_conversation,
        }
        stepwire.step_runs(), "stepwire.v1.StepRunService" {
            "RunStep" => server_stream run_step,
            "CollectStep" => unary collect_step,
            "RunInteractive" => both_stream run_interactive,
            "ServeSteps" => both_stream serve_steps,
            "ListSteps" => unary list_steps,
            "ValidateStep" => unary validate_step,
        }
        stepwire.pipelines(), "stepwire.v1.PipelineService" {
            "SavePipeline" => unary save_pipeline,
            "GetPipeline" => unary get_pipeline,
            "ListPipelines" => unary list_pipelines,
            "DeletePipeline" => unary delete_pipeline,
        }
        HealthClient::new(stepwire.clone()), "grpc.health.v1.Health" {
            "Check" => unary check,
            "Watch" => server_stream watch,
        }
    };
    made.expect("a command that can be carried out");
}
